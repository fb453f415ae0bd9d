#!/bin/sh
# Secrets come as files: NAME_FILE=/run/secrets/name becomes NAME, for this process and its children only. Other files
# (SSL_CERT_FILE) are left.
set -eu
for variable in $(env | sed -n 's/^\([A-Z0-9_]*\)_FILE=.*/\1/p'); do
  eval "file=\$${variable}_FILE"
  case "$file" in "${SECRETS_FOLDER:-/run/secrets}"/*) ;; *) continue ;; esac
  [ -r "$file" ] || { echo "${variable}_FILE names $file, which cannot be read." >&2; exit 2; }
  value=$(cat "$file")
  export "$variable=$value"
  unset "${variable}_FILE"
done
exec "$@"
