#!/usr/bin/env bash
# test-fuzz.sh: random input for everything that strangers' bytes reach first. Each target runs in a process of its own for
# its share of the time, as many at once as there are cores: a stack that overflows or memory that runs out ends the
# process, and an input without an end never comes back.
#   FUZZ_SECONDS            time in all, after the build; 60 by default
#   FUZZ_TARGETS            names of targets with blanks between; all by default
#   FUZZ_REPLAY             a file of a failed input: runs this one only
#   FUZZ_OUTPUT             where inputs that fail and logs go; target/fuzz by default
#   ERROR_TRACKING_SAMPLES  a folder of real events, to begin with them as well
# The last line is "fuzz: N runs, C crashes".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

# An address space without a limit would let one bad input take the memory of the whole machine.
max_memory_kib=$((4 << 20))
# A target may take this much longer than its share: an input under way, and one that is shrunk.
grace=60

hack/prerequisites.sh build
# The development profile has its checks of overflow and of debug_assert, and its dependencies are often built already;
# only this crate is optimised for it, so that more inputs fit into the time.
export CARGO_PROFILE_DEV_OPT_LEVEL=2
say "building (cold, 2 cores: the crates take about 10 minutes first)"
nice cargo test --locked --quiet --no-run --test fuzz
export FUZZ_OUTPUT=${FUZZ_OUTPUT:-$target/fuzz}
mkdir -p "$FUZZ_OUTPUT"
program=$(cargo test --locked --no-run --test fuzz --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"fuzz".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || fail "cargo does not say where the program is"
ulimit -v "$max_memory_kib"
[ -z "${FUZZ_REPLAY-}" ] || exec nice "$program" replay "$FUZZ_REPLAY"

known=$("$program" list)
read -ra targets <<<"${FUZZ_TARGETS:-${known//$'\n'/ }}"
for name in "${targets[@]}"; do
    grep -qx "$name" <<<"$known" || fail "FUZZ_TARGETS: $name is none of ${known//$'\n'/ }"
done
workers=$(nproc)
[ "$workers" -le "${#targets[@]}" ] || workers=${#targets[@]}
rounds=$(((${#targets[@]} + workers - 1) / workers))
share=$((${FUZZ_SECONDS:-60} * 1000 / rounds))
say "fuzzing for ${FUZZ_SECONDS:-60} s"

# run_target NAME: its answer is in NAME.answer; the last line of it is "N runs, C crashes, M MiB".
run_target() {
    local name=$1 answer=$FUZZ_OUTPUT/$1.answer log=$FUZZ_OUTPUT/$1.log kept=$FUZZ_OUTPUT/$1-process.input code=0
    nice timeout --signal=KILL $((share / 1000 + grace)) "$program" run "$name" "$share" >"$answer" 2>"$log" || code=$?
    if [ "$code" != 0 ]; then
        # What it was at when it ended.
        mv "$FUZZ_OUTPUT/$name.running" "$kept"
        echo "crash: the process ended with $code (137: not in time or killed); again: FUZZ_REPLAY=$kept make test-fuzz; log: $log
0 runs, 1 crashes, 0 MiB" >>"$answer"
    fi
    sed "s/^/$(printf '%-12s' "$name") /" "$answer"
}

for name in "${targets[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$workers" ]; do wait -n || true; done
    run_target "$name" &
done
wait
answers=()
for name in "${targets[@]}"; do answers+=("$FUZZ_OUTPUT/$name.answer"); done
awk '/ runs, .* crashes, .* MiB$/ { runs += $1; crashes += $3 }
    END { printf "fuzz: %d runs, %d crashes\n", runs, crashes; exit crashes > 0 }' "${answers[@]}"
