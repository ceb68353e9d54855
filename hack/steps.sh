# shellcheck shell=bash
# Sourced by the other scripts: where things are, how a step is told, how a build beside it is waited for.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export GOTOOLCHAIN=local
# shellcheck disable=SC2034 # used by the scripts that source this one
cache=${XDG_CACHE_HOME:-$HOME/.cache}/error-tracking-operator
target=${CARGO_TARGET_DIR:-$root/target}
logs=$target/logs
mkdir -p "$logs"

# One clock for a script and those that it calls.
export STEPS_BEGAN=${STEPS_BEGAN:-$EPOCHSECONDS}

# say TEXT…: one line with the seconds since the first script began.
say() { printf '[%4d s] %s\n' "$((EPOCHSECONDS - STEPS_BEGAN))" "$*"; }

fail() {
    say "$@" >&2
    exit 1
}

# seconds_since EPOCHREALTIME: with one decimal.
seconds_since() { awk -v from="$1" -v to="$EPOCHREALTIME" 'BEGIN { printf "%.1f", to - from }'; }

declare -A beside_pid=() beside_begin=()

# beside NAME COMMAND…: runs a build at low priority in a session of its own; its output goes to a log.
beside() {
    local name=$1
    shift
    setsid nice "$@" >"$logs/$name.log" 2>&1 </dev/null &
    beside_pid[$name]=$!
    beside_begin[$name]=$SECONDS
}

# await NAME WHAT: waits for it with a sign of life every 20 s, shows the end of its log when it failed.
await() {
    local name=$1 what=$2 pid=${beside_pid[$1]} shown=$SECONDS code=0 took="" last
    while kill -0 "$pid" 2>/dev/null; do
        if [ $((SECONDS - shown)) -ge 20 ]; then
            shown=$SECONDS
            last=$(tr '\r' '\n' <"$logs/$name.log" | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c 1-110 || true)
            say "waiting for $what, $((SECONDS - beside_begin[$name])) s so far: $last"
        fi
        sleep 0.5
        took=" after $((SECONDS - beside_begin[$name])) s"
    done
    wait "$pid" || code=$?
    unset "beside_pid[$name]"
    if [ "$code" != 0 ]; then
        tail -n 40 "$logs/$name.log" >&2
        say "$what failed; the whole log: $logs/$name.log" >&2
        return "$code"
    fi
    say "$what: done$took"
}

# end_beside: ends what still runs, when the script ends early.
end_beside() {
    local pid
    for pid in ${beside_pid[@]+"${beside_pid[@]}"}; do
        kill -- "-$pid" 2>/dev/null || true
    done
}

# cluster COMMAND…: the local Kubernetes (tests/cluster).
cluster() { (cd "$root/tests/cluster" && go run ./cmd/cluster "$@"); }

# in_own_cluster NAME LOG PREFIX: starts a cluster, with the options of CLUSTER_OPTIONS, that ends with the script (KEEP_CLUSTER=1
# leaves it up), and takes over its environment. The script's last line is the last one of LOG that begins with PREFIX; without one the script has failed.
in_own_cluster() {
    own_cluster=$1 own_log=$2 own_prefix=$3
    rm -f "$own_log"
    trap end_own_cluster EXIT
    trap 'exit 130' INT TERM
    # shellcheck disable=SC2086 # several options
    cluster up --name "$own_cluster" ${CLUSTER_OPTIONS-}
    local environment
    environment=$(cluster env --name "$own_cluster")
    eval "$environment"
    export ERROR_TRACKING_CLUSTER=$own_cluster
}
# shellcheck disable=SC2317 # called by the trap
end_own_cluster() {
    local code=$?
    [ "${KEEP_CLUSTER-}" = 1 ] || cluster down --name "$own_cluster" || code=1
    # What a program that died has not said is no result.
    grep -h "^$own_prefix" "$own_log" 2>/dev/null | tail -n 1 || code=1
    exit "$code"
}

# process_tests_in CLUSTER LOG PREFIX: tests/process built, and a cluster of its own for it, as in_own_cluster.
process_tests_in() {
    hack/prerequisites.sh build postgres cluster
    say "building the operator and its tests"
    cargo test --locked --quiet --no-run --test process
    in_own_cluster "$@"
}

# test_installed CLUSTER LOG PREFIX TEST [SETTING…]: one test of tests/operator, also an ignored one, in a cluster of its own where the
# chart is installed with these settings, as "restartWorkloads.enabled=true". MORE_IMAGES are archives that it needs besides.
test_installed() {
    local cluster=$1 log=$2 prefix=$3 test=$4
    shift 4
    hack/prerequisites.sh build cluster
    hack/images.sh dev
    cargo test --locked --quiet --no-run --test operator
    in_own_cluster "$cluster" "$log" "$prefix"
    # shellcheck disable=SC2086 # several archives
    [ -z "${MORE_IMAGES-}" ] || cluster load --name "$cluster" $MORE_IMAGES
    CHART_SETTINGS=$(IFS=,; echo "$*") hack/install.sh "$cluster"
    cargo test --locked --quiet --test operator -- --exact --include-ignored --nocapture "$test" 2>&1 | tee "$log"
}

# bench_operator LOG PREFIX: bench/operator in a cluster of its own, as its environment asks.
bench_operator() {
    local log=$1 prefix=$2
    hack/prerequisites.sh build postgres cluster
    say "building with the release profile (cold, 2 cores: about 15 minutes)"
    # Across crates the optimiser gains little here, and linking takes minutes.
    export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_BENCH_LTO=off
    nice cargo bench --locked --quiet --no-run --bench operator
    in_own_cluster "${BENCH_CLUSTER:-bench}" "$log" "$prefix"
    say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date --utc +%F)"
    cargo bench --locked --quiet --bench operator 2>&1 | tee "$log"
}

# helm is on PATH, or was built for the cluster: the newest of several.
helm_program() {
    command -v helm && return
    find "$cache/cluster" -path '*/helm-*/helm' -printf '%T@ %p\n' 2>/dev/null | sort -rn | sed -n '1s/^[^ ]* //p'
}
