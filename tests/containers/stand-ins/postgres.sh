#!/usr/bin/env bash
# The variables and the folder by which the official image of PostgreSQL is set up.
set -o errexit -o nounset -o pipefail

PGDATA=${PGDATA:-/var/lib/postgresql/data}
for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB; do
    file="${name}_FILE"
    if [[ -n "${!file:-}" ]]; then
        export "${name}=$(<"${!file}")"
    fi
done

if [[ "${1:-}" == -* ]]; then
    set -- postgres "$@"
elif [[ "${1:-}" != postgres ]]; then
    exec "$@"
fi

if ((EUID == 0)); then
    mkdir --parents "$PGDATA"
    chown --recursive postgres "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

# The official image refuses to start beside the data of another version in a folder of its own.
if [[ "$PGDATA" == /var/lib/postgresql/*/docker && ! -s "$PGDATA/PG_VERSION" ]] &&
    compgen -G "/var/lib/postgresql/*/docker/PG_VERSION" >/dev/null; then
    echo "There is data of another version in /var/lib/postgresql." >&2
    exit 1
fi

if [[ ! -s "$PGDATA/PG_VERSION" ]]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    if [[ "$method" != trust ]]; then
        : "${POSTGRES_PASSWORD:?Set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE.}"
    fi
    mkdir --parents "$PGDATA"
    chmod 700 "$PGDATA"
    # shellcheck disable=SC2086  # options, separated by blanks
    initdb --username="$user" --pwfile=<(echo "${POSTGRES_PASSWORD:-unused}") \
        --auth-local=trust --auth-host="$method" ${POSTGRES_INITDB_ARGS:-}
    echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    pg_ctl --options="-c listen_addresses=''" --wait start
    [[ "$database" == postgres ]] || createdb --username="$user" "$database"
    shopt -s nullglob
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) bash "$file" ;;
            *.sql)
                psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$user" --dbname="$database" \
                    --file="$file"
                ;;
            *) echo "$file is neither .sh nor .sql." ;;
        esac
    done
    pg_ctl --mode=fast --wait stop
fi
unset POSTGRES_PASSWORD
exec "$@"
