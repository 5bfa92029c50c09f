#!/usr/bin/env bash
# Redis listens to others without a password, as the official image's does.
set -o errexit -o nounset -o pipefail

if [[ "${1:-}" == -* || "${1:-}" == *.conf ]]; then
    set -- redis-server "$@"
fi
if [[ "$1" == redis-server ]]; then
    if ((EUID == 0)); then
        chown --recursive redis /data
        exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
    fi
    [[ " $* " == *" --protected-mode "* ]] || set -- "$@" --protected-mode no
fi
exec "$@"
