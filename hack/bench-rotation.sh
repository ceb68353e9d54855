#!/usr/bin/env bash
# bench-rotation.sh: 1,000 keys of 100 projects come due within a minute, in a local cluster of its own that this script starts and ends
# (root), with a Postgres on the loopback that counts statements. The last line is "keys: N rotated in S s, A API calls and Q
# statements a key". BENCH_PROJECTS and BENCH_KEYS_PER_PROJECT change the load; BENCH_CLUSTER names another cluster than "bench".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

export BENCH_ROTATION=1 TEST_POSTGRES_SETTINGS="shared_preload_libraries = 'pg_stat_statements'"
bench_operator "$logs/bench-rotation.log" 'keys: '
