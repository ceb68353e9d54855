#!/usr/bin/env bash
# test-clock.sh: an ingest process whose clock is set a day ahead, a day back, and further, while it receives. The last line is
# "clock: J jumps, Q quarantined, F frozen limits".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh build postgres clock
library=$(dpkg-query --listfiles libfaketime 2>/dev/null | grep '/libfaketime\.so' | head -n 1)
[ -n "$library" ] || library=$(ldconfig -p | sed -n 's/.*=> \(.*libfaketime\.so.*\)/\1/p' | head -n 1)
[ -n "$library" ] || fail "test-clock: libfaketime cannot be found"
say "building the tests"
cargo test --locked --quiet --no-run --test ingest
FAKETIME_LIBRARY=$library cargo test --locked --quiet --test ingest -- --exact --ignored --nocapture \
    clock::no_clock_of_a_node_quarantines_an_event_or_freezes_a_limit 2>&1 | tee "$logs/clock.log"
grep '^clock: ' "$logs/clock.log"
