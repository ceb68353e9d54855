#!/usr/bin/env bash
# bench-rotation.sh: 1,000 keys of 100 projects come due within a minute, in a local cluster of its own that this script starts and ends
# (root), with a Postgres on the loopback that counts statements. The last line is "keys: N rotated in S s, A API calls and Q
# statements a key". BENCH_PROJECTS and BENCH_KEYS_PER_PROJECT change the load; BENCH_CLUSTER names another cluster than "bench".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

log=$logs/bench-rotation.log
hack/prerequisites.sh build postgres cluster
say "building with the release profile (cold, 2 cores: about 15 minutes)"
# Across crates the optimiser gains little here, and linking takes minutes.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_BENCH_LTO=off
nice cargo bench --locked --quiet --no-run --bench operator
in_own_cluster "${BENCH_CLUSTER:-bench}" "$log" 'keys: '
say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date --utc +%F)"
export BENCH_ROTATION=1 TEST_POSTGRES_SETTINGS="shared_preload_libraries = 'pg_stat_statements'"
cargo bench --locked --quiet --bench operator 2>&1 | tee "$log"
