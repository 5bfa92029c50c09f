#!/usr/bin/env bash
# Where development in containers starts. Maintained by the template: change docker-compose.override.yml
# instead.
#
# A command runs as who owns the source on the host, so that files that it writes there are theirs.
set -o errexit -o nounset -o pipefail

owner=$(stat --format=%u .)
group=$(stat --format=%g .)
if ((EUID == 0 && owner != 0)); then
    export HOME=/tmp
    set -- setpriv --reuid="$owner" --regid="$group" --clear-groups "$@"
fi
exec "$@"
