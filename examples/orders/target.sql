-- The target store of the example: MariaDB or MySQL.
CREATE DATABASE IF NOT EXISTS shop;

CREATE TABLE shop.orders (
  id        bigint NOT NULL PRIMARY KEY,
  status    varchar(20) NOT NULL,
  amount    decimal(12, 2) NOT NULL,
  placed_at datetime(3) NOT NULL, -- in UTC
  note      text
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
