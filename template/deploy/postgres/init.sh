#!/bin/bash
# The role and the database of the service, made on the first start of PostgreSQL.
# Maintained by the template: change the server's .env before that start instead.
set -o errexit -o nounset -o pipefail

password=$(</run/secrets/postgres_password)
psql --username=postgres --dbname=postgres --no-psqlrc --set=ON_ERROR_STOP=1 \
    --set=user="${APP_USER:?}" --set=database="${APP_DB:?}" --set=password="$password" <<'SQL'
-- A backup is restored to a database beside the one it then replaces.
CREATE ROLE :"user" LOGIN CREATEDB PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"user";
-- The service is no superuser, and nobody becomes one from outside of this container.
ALTER ROLE postgres PASSWORD NULL;
SQL
