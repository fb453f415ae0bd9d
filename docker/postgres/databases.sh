#!/bin/sh
# A database and a user each for Dagster and the Hive Metastore, run once by the image on an empty data folder.
set -eu
make() {
  password=$(cat "$2")
  psql --set ON_ERROR_STOP=1 --set name="$1" --set password="$password" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
}
make dagster "${DAGSTER_POSTGRES_PASSWORD_FILE}"
make metastore "${METASTORE_PASSWORD_FILE}"
