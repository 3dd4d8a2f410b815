# Gives Trueup's user the password that stands in its connection string. The image's entry point sources this file.
docker_process_sql --database=mysql <<SQL
ALTER USER 'trueup'@'%' IDENTIFIED BY '$(cat /run/secrets/trueup_mariadb_password)' ACCOUNT UNLOCK;
SQL
