#!/bin/sh
# Starts the Hive Metastore with the configuration beside this file; makes or upgrades its tables in Postgres first.
#   HIVE_METASTORE   folder of its program and jars    METASTORE_DB_PASSWORD_FILE   file with the password of Postgres
#   JAVA             a Java 17 to 23                   METASTORE_HEAP               default 512m
#   METASTORE_BUCKETS  buckets of an object store that tables lie in
# Java from 24 on has no security manager, by which Hadoop 3.4.2 knows its user.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
METASTORE_DB_PASSWORD=$(cat "$METASTORE_DB_PASSWORD_FILE")
METASTORE_HOME=$(echo "$HIVE_METASTORE"/apache-hive-metastore-*-bin)
HIVE_HOME=$METASTORE_HOME
export METASTORE_DB_PASSWORD METASTORE_HOME HIVE_HOME
# The metastore keeps names and looks into no store. Where it wants to see the folder of a table in a bucket, it gets a
# folder of its own that stands for the bucket. So it needs no keys, and nobody deletes data through it.
stores=$(mktemp -d)
{
  echo '<?xml version="1.0"?><configuration>'
  for scheme in s3 s3a; do
    echo "<property><name>fs.$scheme.impl</name>" \
      "<value>org.apache.hadoop.fs.viewfs.ViewFileSystemOverloadScheme</value></property>"
  done
  for bucket in ${METASTORE_BUCKETS:-}; do
    mkdir -p "$stores/buckets/$bucket"
    echo "<property><name>fs.viewfs.mounttable.$bucket.linkMergeSlash</name>" \
      "<value>file://$stores/buckets/$bucket</value></property>"
  done
  echo '</configuration>'
} > "$stores/core-site.xml"
set -- "-Xmx${METASTORE_HEAP:-512m}" -XX:+UseSerialGC "-Dlog4j.configurationFile=$here/log4j2.properties"
for package in lang net util util.concurrent; do
  set -- "$@" "--add-opens=java.base/java.$package=ALL-UNNAMED"
done
set -- "${JAVA:-java}" "$@" -cp "$here:$stores:$METASTORE_HOME/lib/*:$HIVE_METASTORE/*"
"$@" org.apache.hadoop.hive.metastore.tools.schematool.MetastoreSchemaTool -dbType postgres -initOrUpgradeSchema
exec "$@" org.apache.hadoop.hive.metastore.HiveMetaStore -p "$METASTORE_PORT"
