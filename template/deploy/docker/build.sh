#!/usr/bin/env bash
# Build steps of this service, before its static files are collected, for instance:
#   python manage.py compilemessages
# Runs in /app as root, with the production packages and without any secret.
set -o errexit -o nounset -o pipefail
