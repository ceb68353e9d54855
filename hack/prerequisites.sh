#!/usr/bin/env bash
# prerequisites.sh [build] [postgres] [cluster] [sdks] [runner] [clock] [relay]: checks what a stage needs; as root on Debian or Ubuntu it installs what is
# missing and never removes a package, elsewhere it names the command. What the node itself needs (containerd, runc, nftables, …)
# is looked after by tests/cluster.
set -euo pipefail

missing=()
# need PACKAGE PROGRAM: the package that has the program.
need() { command -v "$2" >/dev/null || missing+=("$1"); }

toolchains=()
need_toolchain() { command -v "$1" >/dev/null || toolchains+=("$2"); }

[ $# -gt 0 ] || set -- build postgres cluster
for stage in "$@"; do
    case $stage in
        build)
            need_toolchain cargo "Rust 1.94 or newer (rustup)"
            need build-essential cc # ring and zstd have C in them
            need git git
            ;;
        postgres)
            # The tests start a server of their own; Debian keeps its programs off PATH.
            newest=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -n | tail -n 1)
            if [ "${newest:-0}" -lt 15 ]; then
                case $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null) in
                    bookworm) missing+=(postgresql-15) ;;
                    *) missing+=(postgresql) ;;
                esac
            fi
            ;;
        cluster)
            need_toolchain go "Go 1.26 or newer"
            need_toolchain python3 "Python 3 with pip"
            need curl curl
            need buildah buildah
            need mmdebstrap mmdebstrap
            [ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
            ;;
        sdks)
            # Asked for by name alone. PHP is not in it: its SDK cannot be had, and its sample is only read where PHP is.
            need_toolchain go "Go 1.26 or newer"
            need_toolchain node "Node 20.19 or newer with npm"
            need_toolchain python3 "Python 3 with pip and venv"
            need default-jdk-headless javac
            need maven mvn
            need ruby ruby
            need chromium "${CHROMIUM:-chromium}"
            # Libraries have no program of their own.
            for package in ruby-sentry-ruby ruby-sentry-raven; do
                dpkg-query --show "$package" >/dev/null 2>&1 || missing+=("$package")
            done
            ;;
        relay)
            # For Relay's published library, which a virtual environment holds.
            need_toolchain python3 "Python 3 with pip and venv"
            ;;
        runner)
            # The doubles, and their image beside what a cluster needs.
            need_toolchain go "Go 1.26 or newer"
            need busybox-static busybox
            ;;
        clock)
            need faketime faketime
            ;;
        *)
            echo "prerequisites: $stage is not one of build, postgres, cluster, sdks, runner, clock, relay" >&2
            exit 2
            ;;
    esac
done

if [ ${#toolchains[@]} -gt 0 ]; then
    printf 'prerequisites: please install %s first\n' "${toolchains[@]}" >&2
    exit 1
fi
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-remove --no-install-recommends "${missing[@]}")
if [ "$(id -u)" != 0 ] || ! grep -qE '^ID=(debian|ubuntu)$' /etc/os-release; then
    echo "prerequisites: missing ${missing[*]}; on Debian or Ubuntu: sudo apt-get update && sudo ${install[*]}" >&2
    exit 1
fi
echo "prerequisites: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# RUNLEVEL=1: packages do not start their services; the tests bring their own servers up.
export RUNLEVEL=1
apt-get update -q >/dev/null
"${install[@]}" >/dev/null
