#!/usr/bin/env bash
# test-fuzz.sh: random input for everything that strangers' bytes reach first, FUZZ_SECONDS long (60 by default) after the
# build. The last line is "fuzz: N runs, C crashes". Inputs that fail are kept in target/fuzz, with how to run them again;
# tests/fuzz/main.rs says what else can be set.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

# An address space without a limit would let one bad input take the memory of the whole machine.
max_memory_kib=$((4 << 20))

hack/prerequisites.sh build
# The development profile has its checks of overflow and of debug_assert, and its dependencies are often built already;
# only this crate is optimised for it, so that more inputs fit into the time.
export CARGO_PROFILE_DEV_OPT_LEVEL=2
say "building (cold, 2 cores: the crates take about 10 minutes first)"
nice cargo test --locked --quiet --no-run --test fuzz
export FUZZ_OUTPUT=${FUZZ_OUTPUT:-$target/fuzz}
mkdir -p "$FUZZ_OUTPUT"
say "fuzzing for ${FUZZ_SECONDS:-60} s"
program=$(cargo test --locked --no-run --test fuzz --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"fuzz".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || fail "cargo does not say where the program is"
ulimit -v "$max_memory_kib"
exec nice "$program"
