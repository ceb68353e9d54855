#!/usr/bin/env bash
# bench-ingest-memory.sh: how much memory an ingest process takes under attack, in front of a Postgres on the loopback that the program
# starts. The last line is "ingest memory: peak P MiB of L MiB, N attacks"; the process that dies, a good client that is refused or
# a peak above the limit fails. BENCH_SECONDS (20, at most 30) is for each attack.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh build postgres
say "building with the release profile (cold, 2 cores: about 15 minutes)"
# Across crates the optimiser gains little here, and linking takes minutes.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_BENCH_LTO=off
nice cargo bench --locked --quiet --no-run --bench ingest_memory
say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date --utc +%F)"
# Attackers and process have more than a thousand connections each.
ulimit -n "$(ulimit -Hn)"
cargo bench --locked --quiet --bench ingest_memory 2>&1 | tee "$logs/bench-ingest-memory.log"
