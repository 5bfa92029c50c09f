#!/bin/sh
# Start PgBouncer in transaction mode. Maintained by the template: change variables in the server's
# .env instead. https://www.pgbouncer.org/config.html
set -o errexit -o nounset

umask 077
password=$(sed 's/"/""/g' /run/secrets/postgres_password)
printf '"%s" "%s"\n' "${POSTGRES_USER:?}" "$password" >/tmp/users.txt
cat >/tmp/pgbouncer.ini <<INI
[databases]
${POSTGRES_DB:?} = host=${POSTGRES_HOST:?} port=${POSTGRES_PORT:?}

[pgbouncer]
listen_addr = *
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /tmp/users.txt
server_tls_sslmode = ${POSTGRES_SSLMODE:?}
${POSTGRES_CA:+server_tls_ca_file = $POSTGRES_CA}
pool_mode = transaction
max_client_conn = ${MAX_CLIENTS:?}
# Connections to the server, in all: together they stay below its max_connections.
default_pool_size = ${POOL_SIZE:?}
reserve_pool_size = ${RESERVE_POOL_SIZE:?}
max_db_connections = $((POOL_SIZE + RESERVE_POOL_SIZE))
# Statements that a driver prepares are known on whichever connection comes next.
max_prepared_statements = 200
# A client that finds no connection is told so, before the proxy gives up on the request.
query_wait_timeout = 10
server_connect_timeout = 3
server_login_retry = 1
log_connections = 0
log_disconnections = 0
INI
exec pgbouncer /tmp/pgbouncer.ini
