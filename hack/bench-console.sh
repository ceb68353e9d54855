#!/usr/bin/env bash
# bench-console.sh: how long the console's pages take and how much memory it has, over a Postgres on the loopback that the program
# starts and fills. The last line is "console: list p95 A ms, search p95 B ms, details p95 C ms, RSS R MB". BENCH_EVENTS (1000000),
# BENCH_ISSUES (10000) and BENCH_SECONDS (60) change the load.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh build postgres
say "building with the release profile (cold, 2 cores: about 15 minutes)"
# Across crates the optimiser gains little here, and linking takes minutes.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_BENCH_LTO=off
nice cargo bench --locked --quiet --no-run --bench console
say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date --utc +%F)"
cargo bench --locked --quiet --bench console 2>&1 | tee "$logs/bench-console.log"
