-- Gives Trueup's role the password that stands in its connection string.
\set password `cat /run/secrets/trueup_postgres_password`
ALTER ROLE trueup PASSWORD :'password';
