#!/usr/bin/env bash
# bench-operator.sh: 1,000 projects and 10,000 keys for one operator, in a local cluster of its own that this script starts
# and ends (root), with a Postgres on the loopback. The last line sums up; about 40 minutes on 2 cores.
# BENCH_PROJECTS, BENCH_KEYS_PER_PROJECT, BENCH_NAMESPACES, BENCH_NEW_KEYS, BENCH_CHANGES and BENCH_IDLE_SECONDS change the
# load; BENCH_CLUSTER names another cluster than "bench"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

log=$logs/bench-operator.log
hack/prerequisites.sh build postgres cluster
say "building with the release profile (cold, 2 cores: about 15 minutes)"
# Across crates the optimiser gains little here, and linking takes minutes.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_BENCH_LTO=off
nice cargo bench --locked --quiet --no-run --bench operator
in_own_cluster "${BENCH_CLUSTER:-bench}" "$log" 'operator: '
say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date --utc +%F)"
cargo bench --locked --quiet --bench operator 2>&1 | tee "$log"
