#!/bin/sh
# Starts PostgreSQL with the environment of docker.io/library/postgres: PGDATA, POSTGRES_USER,
# POSTGRES_PASSWORD, POSTGRES_DB. Runs without root and on a read-only root file system: only PGDATA
# must be writable, and /var/run/postgresql or /tmp if a local socket is wanted.
set -eu

case ${1-} in
    '') set -- postgres ;;
    -*) set -- postgres "$@" ;;
esac
if [ "$1" != postgres ]; then
    exec "$@"
fi
shift

: "${PGDATA:=/var/lib/postgresql/data}"
: "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
export PGDATA

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD-}" ]; then
        echo "postgres-entrypoint: POSTGRES_PASSWORD must be set for the first start" >&2
        exit 1
    fi
    # Made beside its place and renamed: a start that is killed half-way is simply done again.
    making=$PGDATA.initdb
    rm -rf "$making"
    mkdir -p "$(dirname "$PGDATA")"
    printf '%s\n' "$POSTGRES_PASSWORD" | initdb --pgdata="$making" --username="$POSTGRES_USER" \
        --pwfile=/dev/stdin --encoding=UTF8 --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256
    printf 'host all all all scram-sha-256\n' >>"$making/pg_hba.conf"
    if [ "$POSTGRES_DB" != postgres ]; then
        name=$(printf '%s' "$POSTGRES_DB" | sed 's/"/""/g')
        printf 'CREATE DATABASE "%s"\n' "$name" | postgres --single -D "$making" postgres >/dev/null
    fi
    # A volume mounted on PGDATA itself belongs to root, and PostgreSQL would refuse it anyway.
    if [ -d "$PGDATA" ] && ! rmdir "$PGDATA"; then
        echo "postgres-entrypoint: PGDATA ($PGDATA) must be a folder below the volume's mount point" >&2
        exit 1
    fi
    mv "$making" "$PGDATA"
fi
chmod 0700 "$PGDATA" 2>/dev/null || true

sockets=
for folder in /var/run/postgresql /tmp; do
    if [ -w "$folder" ]; then
        sockets=$folder
        break
    fi
done
# No JIT: its library (110 MB) is left out of the image.
exec postgres -c listen_addresses='*' -c unix_socket_directories="$sockets" -c jit=off "$@"
