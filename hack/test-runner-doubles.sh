#!/usr/bin/env bash
# test-runner-doubles.sh: builds the doubles of GitLab Runner and lets each report to a server of the tests' own, on the loopback
# interface: wire format, reload, environment, refused DSNs, signals. The last line is "runner doubles: N passed, N failed". Needs no
# cluster.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh runner
log=$logs/runner-doubles.log
code=0
# The tests wait for the doubles' clocks more than they compute.
(cd tests/runner/double && go test -count=1 -parallel 16 -v .) 2>&1 | tee "$log" | grep -E '^ *--- |doubles_test|^FAIL|runner' || code=$?
# A row that has rows below it is no test of its own.
summary=$(awk '
    /^ *--- (PASS|FAIL): / { result[$3] = $2; order[++n] = $3 }
    END {
        for (i in order) { name = order[i]; while (sub(/\/[^\/]*$/, "", name)) parent[name] = 1 }
        for (i in order) if (!(order[i] in parent)) { if (result[order[i]] == "PASS:") passed++; else failed++ }
        print passed + 0 " passed, " failed + 0 " failed"
    }' "$log")
echo "runner doubles: $summary"
exit "$code"
