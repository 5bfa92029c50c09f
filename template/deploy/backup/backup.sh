#!/usr/bin/env bash
# Dumps the database, and restores it. Maintained by the template: set variables in .env instead.
#   backup now | list | restore NAME|latest [--force] | schedule | health
# Runs in the container `backup`; docs/backups.md describes the commands and the variables.
# A function before `||` is a single command, and what stands in $(…) cannot fail or is looked at.
# shellcheck disable=SC2310,SC2312
set -o errexit -o nounset -o pipefail
umask 077

: "${PGHOST:?names no server}" "${PGUSER:?names no role}" "${PGDATABASE:?names no database}"
# Read into a variable: the arguments of a process are seen by everybody on the machine.
if [[ -n ${PGPASSWORD_FILE:-} ]]; then
    PGPASSWORD=$(<"$PGPASSWORD_FILE")
    export PGPASSWORD
fi
# A server that is away is an error, not a wait.
export PGCONNECT_TIMEOUT=10
# The role's limit on a statement is that of requests.
export PGOPTIONS="-c statement_timeout=0"

folder=${BACKUP_FOLDER:-/backups}
keep=${BACKUP_KEEP:-14}
daily_at=${BACKUP_TIME:-02:15}
max_age_hours=${BACKUP_MAX_AGE_HOURS:-26}
bucket=${BACKUP_S3_BUCKET:-}
# This database's dumps and no other files: app-20260131T021500Z.dump
names="$PGDATABASE-????????T??????Z.dump"

if [[ -n $bucket ]]; then
    # rclone 1.60 of Debian sends only checksums that every store knows; newer AWS tools do not.
    export RCLONE_CONFIG_STORE_TYPE=s3
    export RCLONE_CONFIG_STORE_REGION=${BACKUP_S3_REGION:-us-east-1}
    export RCLONE_CONFIG_STORE_NO_CHECK_BUCKET=true
    if [[ -n ${BACKUP_S3_ENDPOINT_URL:-} ]]; then
        export RCLONE_CONFIG_STORE_PROVIDER=Other
        export RCLONE_CONFIG_STORE_ENDPOINT=$BACKUP_S3_ENDPOINT_URL
    else
        export RCLONE_CONFIG_STORE_PROVIDER=AWS
    fi
    if [[ -n ${BACKUP_S3_ACCESS_KEY_ID:-} ]]; then
        RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY=$(<"${BACKUP_S3_SECRET_ACCESS_KEY_FILE:?}")
        export RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY
        export RCLONE_CONFIG_STORE_ACCESS_KEY_ID=$BACKUP_S3_ACCESS_KEY_ID
    else
        export RCLONE_CONFIG_STORE_ENV_AUTH=true # the machine's role
    fi
fi

# say LEVEL SENTENCE: one line of JSON, as the service's own log.
say() {
    local text=${2//\\/\\\\}
    printf '{"time": "%s", "level": "%s", "logger": "backup", "message": "%s"}\n' \
        "$(date --utc +%Y-%m-%dT%H:%M:%S+00:00)" "$1" "${text//\"/\\\"}" >&2
}

fail() {
    say ERROR "$1"
    exit 1
}

store() {
    rclone --config=/dev/null --log-level=ERROR --contimeout=10s --timeout=1m --low-level-retries=3 \
        --retries=3 "$@"
}

sql() {
    psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --dbname=postgres \
        --set=database="$PGDATABASE" "$@"
}

# One command at a time: no dump while a database is restored, nor two that prune.
lock() {
    [[ -w $folder ]] || fail "$folder cannot be written: let user $(id --user) own it."
    exec 9>"$folder/.lock"
    flock --nonblock 9 || fail "Another backup or restore is running: try again when it has ended."
    rm --force "$folder"/*.partial
}

# The dumps in the folder, the oldest first: the time in their names sorts them.
local_dumps() {
    find "$folder" -maxdepth 1 -name "$names" -printf '%f\n' | sort
}

bucket_dumps() {
    store lsf --files-only --include="/$names" "store:$bucket" | sort ||
        fail "The bucket $bucket cannot be listed."
}

# Seconds since 1970 of the newest dump, 0 when there is none.
newest() {
    local name
    name=$(local_dumps | tail --lines=1)
    name=${name%.dump}
    name=${name##*-}
    [[ -n $name ]] || name=19700101T000000Z
    date --utc +%s --date="${name:0:8} ${name:9:2}:${name:11:2}:${name:13:2}"
}

dump() {
    local name path checksum
    name="$PGDATABASE-$(date --utc +%Y%m%dT%H%M%SZ).dump"
    path="$folder/$name"
    trap 'rm --force "$folder"/*.partial' EXIT
    pg_dump --format=custom --lock-wait-timeout=5min --file="$path.partial" ||
        fail "The dump of $PGDATABASE failed; no older one is deleted."
    # Reads it to the end: the list of contents alone would not tell that the data is cut off.
    pg_restore --file=/dev/null "$path.partial" ||
        fail "The dump of $PGDATABASE cannot be read back; no older one is deleted."
    checksum=$(sha256sum <"$path.partial")
    echo "${checksum%% *}  $name" >"$path.sha256.partial"
    # On the disk before they have their names, and the dump last.
    sync "$path.partial" "$path.sha256.partial"
    mv "$path.sha256.partial" "$path.sha256"
    mv "$path.partial" "$path"
    say INFO "Dumped $PGDATABASE to $name, $(stat --format=%s "$path") bytes."
    local_dumps | head --lines=-"$keep" | while read -r name; do
        rm --force "$folder/$name" "$folder/$name.sha256"
        say INFO "Deleted $name: $keep newer ones are kept."
    done
}

# Whatever the bucket does not have yet goes there, so that a day without it is made up for.
copy_to_bucket() {
    local name
    if [[ -n $bucket ]]; then
        store copy --include="/$names" --include="/$names.sha256" "$folder" "store:$bucket" ||
            fail "The bucket $bucket takes no backup; it is tried again."
        bucket_dumps | head --lines=-"$keep" | while read -r name; do
            store delete --include="/$name" --include="/$name.sha256" "store:$bucket"
            say INFO "Deleted $name from the bucket: $keep newer ones are kept."
        done
        say INFO "The bucket $bucket has every dump."
    fi
    touch "$folder/.complete" # what `health` asks for
}

# Not cron: it runs as root, hides exit codes, and does not make up for a night that it was off.
# This asks each minute whether there is a dump since the last time that one was due.
schedule() {
    local due
    say INFO "Backups are made daily at $daily_at UTC; the last $keep are kept."
    [[ -e $folder/.complete || -e $folder/.first-start ]] || touch "$folder/.first-start"
    # PostgreSQL may be starting beside this.
    for _ in {1..60}; do
        ! pg_isready --quiet || break
        sleep 1
    done
    while true; do
        due=$(date --utc +%s --date="$daily_at")
        ((due <= $(date +%s))) || due=$((due - 86400))
        if (($(newest) < due)); then
            "$0" now || sleep 600
        elif [[ ! $folder/.complete -nt $folder/$(local_dumps | tail --lines=1) ]]; then
            "$0" copy || sleep 600
        fi
        sleep 60
    done
}

# A first backup may take long: it is missed no sooner than a later one.
health() {
    local last age
    last=$(stat --format=%Y "$folder/.complete" 2>/dev/null ||
        stat --format=%Y "$folder/.first-start" 2>/dev/null) || fail "There is no backup yet."
    age=$((($(date +%s) - last) / 3600))
    ((age < max_age_hours)) || fail "There has been no backup for $age hours."
}

# The database is not touched until the dump is restored, whole, beside it; then names are changed,
# and the former database is kept under another. PostgreSQL refuses that while somebody is connected.
restore() {
    local name=$1 force=$2 live new="${PGDATABASE}_restoring" old
    old="${PGDATABASE}_old_$(date --utc +%Y%m%dT%H%M%S)"
    if [[ $name == latest ]]; then
        name=$({ local_dumps; [[ -z $bucket ]] || bucket_dumps; } | sort | tail --lines=1)
        [[ -n $name ]] || fail "There is no backup of $PGDATABASE."
    fi
    [[ ${name##*/} == "$name" ]] || fail "$name is no name of a backup: see \`backup list\`."
    if [[ ! -e $folder/$name && -n $bucket ]]; then
        for part in "$name" "$name.sha256"; do
            # Where there is nothing, there is nothing to copy, and no error.
            if ! store copyto "store:$bucket/$part" "$folder/$part.partial" ||
                [[ ! -f $folder/$part.partial ]]; then
                fail "The bucket $bucket has no $part: see \`backup list\`."
            fi
        done
        mv "$folder/$name.sha256.partial" "$folder/$name.sha256"
        mv "$folder/$name.partial" "$folder/$name"
    fi
    [[ -e $folder/$name ]] || fail "There is no backup $name: see \`backup list\`."
    (cd "$folder" && sha256sum --check --status "$name.sha256") ||
        fail "$name is not what was dumped: its checksum is missing or another. Nothing is changed."

    live=$(sql <<<"SELECT count(*) FROM pg_stat_activity WHERE datname = :'database'")
    if ((live > 0)) && [[ $force != true ]]; then
        fail "$live connections to $PGDATABASE are live: stop what uses it, or add --force."
    fi

    sql --set=new="$new" <<<'DROP DATABASE IF EXISTS :"new"'
    # With the collation of the one it replaces, or the order of texts would change.
    sql --set=new="$new" <<'SQL'
SELECT format('CREATE DATABASE %I TEMPLATE template0 %s', :'new', (
    SELECT format('ENCODING %L LC_COLLATE %L LC_CTYPE %L', pg_encoding_to_char(encoding),
        datcollate, datctype)
        || CASE datlocprovider
            WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L',
                coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'))
            WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L',
                to_jsonb(d)->>'datlocale')
            ELSE ''
        END
    FROM pg_database d WHERE datname = :'database'
)) \gexec
SQL
    if ! pg_restore --exit-on-error --single-transaction --no-owner --dbname="$new" "$folder/$name"
    then
        sql --set=new="$new" <<<'DROP DATABASE :"new"'
        fail "$name could not be restored; $PGDATABASE is as it was."
    fi
    # Whatever ends this before its end, the service can connect again.
    trap "sql <<<'ALTER DATABASE :\"database\" ALLOW_CONNECTIONS true'" EXIT
    if ! sql --set=new="$new" --set=old="$old" --set=force="$force" <<'SQL'
SELECT EXISTS (SELECT FROM pg_database WHERE datname = :'database') AS exists \gset
\if :exists
    ALTER DATABASE :"database" ALLOW_CONNECTIONS false;
    \if :force
        SELECT count(pg_terminate_backend(pid)) AS ended
        FROM pg_stat_activity WHERE datname = :'database' \gset
    \endif
\endif
BEGIN;
\if :exists
    ALTER DATABASE :"database" RENAME TO :"old";
\endif
ALTER DATABASE :"new" RENAME TO :"database";
COMMIT;
\if :exists
    ALTER DATABASE :"old" ALLOW_CONNECTIONS true;
\endif
SQL
    then
        sql --set=new="$new" <<<'DROP DATABASE :"new"'
        fail "$PGDATABASE is as it was: somebody has connected meanwhile."
    fi
    trap - EXIT
    say INFO "Restored $PGDATABASE from $name; what it was before is in $old, if it was there."
}

[[ $keep =~ ^[1-9][0-9]*$ ]] || fail "BACKUP_KEEP is no whole number of at least 1."
[[ $max_age_hours =~ ^[1-9][0-9]*$ ]] || fail "BACKUP_MAX_AGE_HOURS is no whole number of at least 1."
[[ $daily_at =~ ^([01][0-9]|2[0-3]):[0-5][0-9]$ ]] || fail "BACKUP_TIME is no time such as 02:15."
case ${1:-} in
now)
    lock
    dump
    copy_to_bucket
    ;;
copy)
    lock
    copy_to_bucket
    ;;
list)
    { local_dumps; [[ -z $bucket ]] || bucket_dumps; } | sort --unique
    ;;
restore)
    lock
    force=false
    [[ ${3:-} != --force ]] || force=true
    restore "${2:?is missing: name a backup of the list, or latest}" "$force"
    ;;
schedule) schedule ;;
health) health ;;
*) fail "Say what to do: backup now, list, restore, schedule or health." ;;
esac
