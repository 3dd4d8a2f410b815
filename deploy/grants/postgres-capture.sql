-- What Trueup needs to capture a PostgreSQL store, and nothing else. Run it in the store's database (here: shop) as the
-- owner of the mapped tables, or as a superuser, before the first "trueup run". Put your own names in the place of shop,
-- public.orders and trueup_orders_legacy.
--
-- A role that may REPLICATE reads every change in its database, whatever it may SELECT: pg_hba.conf keeps it to this
-- database, by a line that names it. "all" matches no physical replication; a line that says "replication" would let the
-- role copy the whole cluster.
--
--     host  shop  trueup  ADDRESS  scram-sha-256
--
-- No password is set here, so that nobody can log in yet: \password trueup in psql sets it.
CREATE ROLE trueup LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
GRANT CONNECT ON DATABASE shop TO trueup;

-- To look whether tables are empty, and for baselines.
GRANT USAGE ON SCHEMA public TO trueup;
GRANT SELECT ON public.orders TO trueup;

-- Its name: trueup_, the migration, _ and the side, with - as _.
CREATE PUBLICATION trueup_orders_legacy FOR TABLE public.orders
  WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);
