#!/usr/bin/env bash
# Builds the images as OCI archives, without a registry and without a daemon.
#   build.sh operator PROGRAM OUT.tar [NAME]   the last stage of the Dockerfile, around a compiled program
#   build.sh test OUT.tar [NAME]               PostgreSQL and the Python shop in one Debian
#   build.sh runner FOLDER OUT.tar NAME…       the doubles of GitLab Runner in FOLDER; one image under several names
# An archive is not made again while what it is made of is unchanged.
set -euo pipefail
umask 022

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=$here/$(basename "${BASH_SOURCE[0]}")
repository=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/error-tracking-operator/images
start=$SECONDS

say() { echo "images: $*"; }
fail() {
    echo "images: $*" >&2
    exit 1
}

# need PROGRAM PACKAGE…: installs, as root on Debian or Ubuntu, only what is missing.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! grep -qE '^ID=(debian|ubuntu)$' /etc/os-release; then
        fail "missing: ${missing[*]}; on Debian or Ubuntu: apt-get update && apt-get install ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --no-remove "${missing[@]}" >/dev/null
}

# unchanged OUT KEY: whether OUT was made from the inputs that KEY names.
unchanged() { [ -s "$1" ] && [ "$(cat "$1.key" 2>/dev/null)" = "$2" ]; }

# archive OUT KEY NAMES BUILD-ARGUMENT…: buildah with storage of its own, removed afterwards, so that
# nothing is left on the machine. vfs needs neither overlay mounts nor a fuse program.
archive() {
    local out=$1 key=$2 name names
    read -ra names <<<"$3"
    name=${names[0]}
    shift 3
    local buildah=(buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs)
    "${buildah[@]}" build --quiet --layers=false --timestamp 0 --tag "$name" "$@" >/dev/null
    mkdir -p "$(dirname "$out")"
    rm -f "$out.part"
    "${buildah[@]}" push --quiet "$name" "oci-archive:$out.part:$name"
    [ ${#names[@]} = 1 ] || also_named "$out.part" "${names[@]:1}"
    mv "$out.part" "$out"
    echo "$key" >"$out.key"
    say "$out is $name, $(du -h "$out" | cut -f1), made in $((SECONDS - start)) s"
}

# also_named ARCHIVE NAME…: an OCI archive names its images in index.json; the same image may stand there more than once.
also_named() {
    local archive=$1 folder=$work/named
    shift
    mkdir "$folder"
    tar -x -C "$folder" -f "$archive"
    python3 - "$folder/index.json" "$@" <<'PYTHON'
import json, sys
path, names = sys.argv[1], sys.argv[2:]
index = json.load(open(path))
image = index["manifests"][0]
index["manifests"] += [{**image, "annotations": {"org.opencontainers.image.ref.name": name}} for name in names]
json.dump(index, open(path, "w"))
PYTHON
    tar -c -C "$folder" -f "$archive" .
}

operator() {
    (( $# >= 2 && $# <= 3 )) || fail "usage: build.sh operator PROGRAM OUT.tar [NAME]"
    local program=$1 out=$2 name=${3:-localhost/error-tracking-operator:dev}
    [ -x "$program" ] || fail "$program is not a program: cargo build first"
    need buildah buildah
    local key
    # Collected first: this machine's libraries and CA certificates are inputs too.
    "$here/collect.sh" "$program" "$work/rootfs"
    key=$({ cd "$work/rootfs" && find . -type f -print0 | sort -z | xargs -0 sha256sum; cat "$repository/Dockerfile" "$script"; echo "$name"; } | sha256sum)
    if unchanged "$out" "$key"; then
        say "$out is current"
        return
    fi
    # The build stages need a registry (FROM rust) and are left out: the last stage alone, which takes
    # its files from the name "rootfs", here a folder.
    sed -n '/^FROM scratch$/,$p' "$repository/Dockerfile" >"$work/Dockerfile"
    archive "$out" "$key" "$name" --file "$work/Dockerfile" --build-context "rootfs=$work/rootfs" "$work/rootfs"
}

test_image() {
    (( $# >= 1 && $# <= 2 )) || fail "usage: build.sh test OUT.tar [NAME]"
    local out=$1 name=${2:-localhost/error-tracking-test:dev} key cached
    key=$({ cat "$here"/{Dockerfile.test,postgres-entrypoint.sh,requirements.txt} "$script"; uname -m; echo "$name"; } | sha256sum)
    if unchanged "$out" "$key"; then
        say "$out is current"
        return
    fi
    cached=$cache/test-${key:0:12}.tar
    if ! unchanged "$cached" "$key"; then
        need buildah buildah mmdebstrap mmdebstrap
        python3 -m pip --version >/dev/null 2>&1 || need pip3 python3-pip
        debian_root
        cp "$here/Dockerfile.test" "$work/Dockerfile"
        archive "$cached" "$key" "$name" --file "$work/Dockerfile" "$work/context"
    fi
    mkdir -p "$(dirname "$out")"
    cp --reflink=auto "$cached" "$out"
    echo "$key" >"$out.key"
    say "$out is ready"
}

runner() {
    (( $# >= 3 )) || fail "usage: build.sh runner FOLDER OUT.tar NAME…"
    local programs=$1 out=$2 called="${*:3}" key applet
    need buildah buildah busybox busybox-static python3 python3
    "$here/collect.sh" "$(command -v busybox)" "$work/rootfs"
    for applet in $(busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox "$work/rootfs/usr/bin/$applet"
    done
    ln -s usr/bin "$work/rootfs/bin"
    # Writable for whatever user a pod runs as.
    install -d -m 1777 "$work/rootfs/home/gitlab-runner"
    install -m 0755 "$programs"/runner-* "$repository/tests/runner/chart-entrypoint.sh" "$work/rootfs/"
    key=$({ cd "$work/rootfs" && find . -type f -print0 | sort -z | xargs -0 sha256sum; cat "$here/Dockerfile.runner" "$script"; echo "$called"; } | sha256sum)
    if unchanged "$out" "$key"; then
        say "$out is current"
        return
    fi
    archive "$out" "$key" "$called" --file "$here/Dockerfile.runner" "$work/rootfs"
}

# debian_root makes $work/context/rootfs.tar: Debian 12 with PostgreSQL 15, Python 3.11 and the shop's
# packages; without documentation, translations and PostgreSQL's JIT (libLLVM, 110 MB).
debian_root() {
    say "the shop's Python packages"
    # The wheels of the image's Python 3.11, whatever Python runs here.
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
        --target "$work/shop" --only-binary=:all: --implementation cp --python-version 3.11 \
        --platform "manylinux_2_17_$(uname -m)" --platform "manylinux2014_$(uname -m)" --platform any \
        --requirement "$here/requirements.txt"

    # This machine's own Debian sources, if it is a Debian 12 (they may be a mirror); else
    # mmdebstrap's default.
    local sources=()
    if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release && grep -q '^ID=debian' /etc/os-release; then
        # shellcheck disable=SC2016 # apt expands these
        apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'ORIGIN: Debian' \
            | sort -u >"$work/sources.list"
        [ ! -s "$work/sources.list" ] || sources=("$work/sources.list")
    fi

    say "Debian with PostgreSQL and Python (about a minute)"
    mkdir -p "$work/context"
    # PostgreSQL's user gets its number before the package would pick one. Python is compiled here, as a
    # read-only root file system cannot keep what it would compile at each start.
    # shellcheck disable=SC2016 # mmdebstrap's shell expands $1
    mmdebstrap --verbose --mode=root --variant=minbase \
        --include=postgresql-15,postgresql-client-15,python3,ca-certificates \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/lib/*/libLLVM*' \
        --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' \
        --essential-hook='echo "postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/sh" >>"$1/etc/passwd"' \
        --essential-hook='echo "postgres:x:999:" >>"$1/etc/group"' \
        --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
        --customize-hook='echo "shop:x:10001:10001::/tmp:/usr/sbin/nologin" >>"$1/etc/passwd"; echo "shop:x:10001:" >>"$1/etc/group"' \
        --customize-hook="copy-in $work/shop /opt" \
        --customize-hook='chroot "$1" python3 -m compileall -q /opt/shop /usr/lib/python3.11' \
        --customize-hook="install -m 0755 $here/postgres-entrypoint.sh \"\$1/usr/local/bin/postgres-entrypoint\"" \
        --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/* "$1"/etc/ssl/private/*' \
        --customize-hook='mkdir -p "$1/var/run/postgresql" && chmod 1777 "$1/var/run/postgresql"' \
        bookworm "$work/context/rootfs.tar" "${sources[@]}" >"$work/mmdebstrap.log" 2>&1 \
        || { tail -60 "$work/mmdebstrap.log" >&2; fail "mmdebstrap failed"; }
}

mkdir -p "$cache"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
case ${1-} in
    operator) operator "${@:2}" ;;
    test) test_image "${@:2}" ;;
    runner) runner "${@:2}" ;;
    *) fail "usage: build.sh operator PROGRAM OUT.tar [NAME] | build.sh test OUT.tar [NAME] | build.sh runner FOLDER OUT.tar NAME…" ;;
esac
