-- What Trueup needs besides to repair a PostgreSQL store: only where it is the follower, and only for compensate mode
-- propose or apply. Run it after postgres-capture.sql, in the same database, as the owner of the mapped tables and with
-- the right to create a schema.
--
-- Or make a login for it that does nothing else, put its name in the place of trueup below, and name its connection
-- string in stores.target.applyDsn (or legacy) of migration.yaml. A login with more rights than these, and capture's
-- where it is the same one, is refused.
GRANT SELECT, INSERT, UPDATE, DELETE ON public.orders TO trueup;

-- The ledger: a repair and its row in it are one transaction, so a repair happens at most once. Nobody updates or deletes
-- in it.
CREATE SCHEMA IF NOT EXISTS trueup;
CREATE TABLE IF NOT EXISTS trueup.ledger (
  compensation_id text COLLATE "C" CONSTRAINT trueup_ledger_pkey PRIMARY KEY,
  divergence_id   text NOT NULL,
  entity          text NOT NULL,
  entity_key      text NOT NULL,
  statement       text NOT NULL,
  rules           text NOT NULL,
  attempt         text NOT NULL,
  applied_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT USAGE ON SCHEMA trueup TO trueup;
GRANT SELECT, INSERT ON trueup.ledger TO trueup;
