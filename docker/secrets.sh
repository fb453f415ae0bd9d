#!/bin/sh
# Makes the secrets that compose.yml names, random, once: files that are there are left. Also the password of the UI.
set -eu
folder=$(dirname "$0")/secrets
mkdir -p -m 700 "$folder"
put() {  # NAME VALUE
  [ -e "$folder/$1" ] || printf '%s' "$2" > "$folder/$1"
}
random() { openssl rand -hex 24; }
for name in postgres_password dagster_postgres_password metastore_password store_secret; do
  put "$name" "$(random)"
done
put ad_lakehouse_storage_options "{\"aws_secret_access_key\": \"$(cat "$folder/store_secret")\"}"
if [ ! -e "$folder/dagster_users" ]; then
  password=$(random)
  put dagster_users "dagster:$(printf '%s' "$password" | openssl passwd -apr1 -stdin)"
  put dagster_ui_password "$password"
fi
# Containers run as other users than yours, so the files can be read by all; only you get into their folder.
chmod 644 "$folder"/*
chmod 700 "$folder"
echo "Secrets are in $folder. The UI asks for the user dagster; its password is in $folder/dagster_ui_password."
