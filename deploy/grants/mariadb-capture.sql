-- What Trueup needs to capture a MariaDB (or MySQL) store, and nothing else. Run it as an administrator before the first
-- "trueup run". Put your own names in the place of shop.orders, and the address that Trueup connects from in the place
-- of %.
--
-- Who may replicate reads every change on the server, whatever it may SELECT: the server knows no narrower right.
--
-- No password is set here, and the account is locked until there is one:
--
--     ALTER USER 'trueup'@'%' IDENTIFIED BY '...' ACCOUNT UNLOCK;
CREATE USER 'trueup'@'%' ACCOUNT LOCK;

-- To read the binlog, and to say where it stands (MariaDB shows the second one as BINLOG MONITOR).
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'trueup'@'%';

-- To look whether tables are empty, for baselines, and for what the binlog does not say of columns.
GRANT SELECT ON shop.orders TO 'trueup'@'%';
