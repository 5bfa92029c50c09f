#!/usr/bin/env bash
# RabbitMQ as its own user. It reads RABBITMQ_DEFAULT_USER and the like by itself.
set -o errexit -o nounset -o pipefail

if [[ "$1" == rabbitmq-server && $EUID == 0 ]]; then
    chown --recursive rabbitmq /var/lib/rabbitmq
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$@"
fi
exec "$@"
