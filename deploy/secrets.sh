#!/bin/sh
# Makes the passwords and connection strings that docker-compose.yml mounts as secrets, in deploy/secrets; what is there
# already stays. Containers read them as members of this account's group, which .env names to Docker Compose: the files
# are nobody else's to read.
set -eu
umask 027
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/secrets"

password() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
secret() {
	[ -s "$1" ] || printf '%s\n' "$2" >"$1"
	chmod 0440 "$1"
}

secret postgres_password "$(password)"
secret trueup_postgres_password "$(password)"
secret mariadb_root_password "$(password)"
secret trueup_mariadb_password "$(password)"
secret legacy_dsn "postgres://trueup:$(cat trueup_postgres_password)@postgres:5432/shop?sslmode=disable"
secret target_dsn "trueup:$(cat trueup_mariadb_password)@tcp(mariadb:3306)/shop?tls=false"

env=$here/../.env
others=$(grep -v '^SECRETS_GID=' "$env" 2>/dev/null || true)
printf '%s\n' ${others:+"$others"} "SECRETS_GID=$(id -g)" >"$env"
echo "secrets are in $here/secrets; next: docker compose up --build" >&2
