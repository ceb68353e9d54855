#!/usr/bin/env bash
# bench-pipeline.sh: what one event of 23 KB costs through decoding, scrubbing, parsing and grouping, on one core.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh build
say "building with the release profile (cold, 2 cores: about 15 minutes)"
# Across crates the optimiser gains little here, and linking takes minutes.
export CARGO_PROFILE_BENCH_LTO=off
nice cargo bench --locked --quiet --no-run --bench pipeline
say "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date --utc +%F)"
taskset --cpu-list 0 cargo bench --locked --quiet --bench pipeline
