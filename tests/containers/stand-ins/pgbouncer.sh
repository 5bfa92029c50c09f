#!/usr/bin/env bash
# PgBouncer with a mounted configuration, or with one made from DB_HOST and the like.
set -o errexit -o nounset -o pipefail

folder="/etc/pgbouncer"
if [[ ! -f "$folder/pgbouncer.ini" ]]; then
    echo "\"${DB_USER:-postgres}\" \"${DB_PASSWORD:-}\"" >"$folder/userlist.txt"
    {
        echo "[databases]"
        echo "${DB_NAME:-*} = host=${DB_HOST:?Set DB_HOST.} port=${DB_PORT:-5432}"
        echo "[pgbouncer]"
        echo "listen_addr = ${LISTEN_ADDR:-0.0.0.0}"
        echo "listen_port = ${LISTEN_PORT:-5432}"
        echo "unix_socket_dir ="
        echo "auth_file = $folder/userlist.txt"
        echo "auth_type = ${AUTH_TYPE:-md5}"
        echo "admin_users = ${ADMIN_USERS:-postgres}"
        echo "ignore_startup_parameters = ${IGNORE_STARTUP_PARAMETERS:-extra_float_digits}"
        for name in POOL_MODE MAX_CLIENT_CONN DEFAULT_POOL_SIZE MIN_POOL_SIZE RESERVE_POOL_SIZE \
            MAX_DB_CONNECTIONS MAX_PREPARED_STATEMENTS QUERY_WAIT_TIMEOUT SERVER_IDLE_TIMEOUT; do
            [[ -z "${!name:-}" ]] || echo "${name,,} = ${!name}"
        done
    } >"$folder/pgbouncer.ini"
fi
exec "$@"
