#!/usr/bin/env bash
# bench-operator.sh: 1,000 projects and 10,000 keys for one operator, in a local cluster of its own that this script starts
# and ends (root), with a Postgres on the loopback. The last line sums up; about 40 minutes on 2 cores.
# BENCH_PROJECTS, BENCH_KEYS_PER_PROJECT, BENCH_NAMESPACES, BENCH_NEW_KEYS, BENCH_CHANGES and BENCH_IDLE_SECONDS change the
# load; BENCH_CLUSTER names another cluster than "bench"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

bench_operator "$logs/bench-operator.log" 'operator: '
