-- What Trueup needs besides to repair a MariaDB (or MySQL) store: only where it is the follower, and only for compensate
-- mode propose or apply. Run it after mariadb-capture.sql, as an administrator. The ledger stands in the database that
-- Trueup's connection string names.
--
-- Or make a login for it that does nothing else, put its name in the place of trueup below, and name its connection
-- string in stores.target.applyDsn (or legacy) of migration.yaml. A login with more rights than these, and capture's
-- where it is the same one, is refused.
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.orders TO 'trueup'@'%';

-- The ledger: a repair and its row in it are one transaction, so a repair happens at most once. Nobody updates or deletes
-- in it.
CREATE TABLE IF NOT EXISTS shop.trueup_ledger (
  compensation_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  divergence_id   VARCHAR(255) NOT NULL,
  entity          VARCHAR(255) NOT NULL,
  entity_key      LONGTEXT NOT NULL,
  statement       VARCHAR(16) NOT NULL,
  rules           VARCHAR(255) NOT NULL,
  attempt         VARCHAR(64) NOT NULL,
  applied_at      TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
GRANT SELECT, INSERT ON shop.trueup_ledger TO 'trueup'@'%';
