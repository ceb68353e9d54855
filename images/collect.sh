#!/usr/bin/env bash
# Collects a root file system for one program: the program, the shared libraries and the loader that
# ldd names, the CA certificates, and the few files that the C library looks for.
#   collect.sh PROGRAM FOLDER
set -euo pipefail
umask 022

if [ $# -ne 2 ]; then
    echo "usage: collect.sh PROGRAM FOLDER" >&2
    exit 2
fi
program=$1
folder=$2

rm -rf "$folder"
mkdir -p "$folder"/{etc/ssl/certs,usr/bin,tmp}
chmod 1777 "$folder/tmp"
install -m 0755 "$program" "$folder/usr/bin/$(basename "$program")"

# ldd prints "name => /path (address)", and the loader as "/path (address)". A static program has none.
libraries=$(ldd "$program" 2>/dev/null | grep -oE '/[^ ]+' || true)
for library in $libraries; do
    mkdir -p "$folder$(dirname "$library")"
    cp --dereference "$library" "$folder$library"
done

if [ ! -s /etc/ssl/certs/ca-certificates.crt ]; then
    echo "collect: /etc/ssl/certs/ca-certificates.crt is missing: apt-get install ca-certificates" >&2
    exit 1
fi
cp --dereference /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
echo 'hosts: files dns' >"$folder/etc/nsswitch.conf"
echo 'nonroot:x:65532:65532::/tmp:/nonexistent' >"$folder/etc/passwd"
echo 'nonroot:x:65532:' >"$folder/etc/group"
