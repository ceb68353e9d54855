#!/usr/bin/env bash
# crash-operator.sh: the operator is killed before and after every step of its plans, in a local cluster of its own that
# this script starts and ends (root). Lists the fault points; the last line is "fault points: P, runs: N, violations: V".
# CRASH_RUNS makes a selection of so many runs, CRASH_SCENARIOS=Rotate one of the scenarios; CRASH_CLUSTER names another cluster than "crash"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

log=$logs/crash-operator.log
process_tests_in "${CRASH_CLUSTER:-crash}" "$log" 'fault points: '
say "killing the operator at every step (about 12 minutes on 2 cores); the whole log: $log"
cargo test --locked --quiet --test process -- --exact --ignored --nocapture crash::the_operator_is_killed_at_every_step \
    >"$log" 2>&1 &
test=$!
while kill -0 "$test" 2>/dev/null; do
    sleep 20
    progress=$(grep -hE '^[0-9]+/[0-9]+ after' "$log" | tail -n 1 || true)
    say "runs: ${progress:-finding the fault points}"
done
code=0
wait "$test" || code=$?
# Each point on a line of its own, as "project/migrate/before".
grep -hE '^[a-z]+/[a-z-]+/(before|after)$' "$log" || true
grep -hA 12 '^VIOLATION' "$log" || true
[ "$code" = 0 ] || tail -n 20 "$log"
exit "$code"
