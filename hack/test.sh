#!/usr/bin/env bash
# test.sh [unit] [health] [postgres] [cluster]: the tests in stages, fastest first; all of them when none is named.
#   unit      pure code
#   health    what kstatus and Argo CD make of every state that the operator can leave an object in, and what the alerts say
#   postgres  against a real Postgres that the tests start themselves
#   cluster   chart, operator, ingest and console in a real Kubernetes that this script starts and ends; needs root
# KEEP_CLUSTER=1 leaves the cluster up, TEST_CLUSTER names another than "test". The last line is "N passed, N failed, N skipped".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"
# shellcheck source=hack/chart-tests.sh
. hack/chart-tests.sh
# shellcheck source=hack/installation-tests.sh
. hack/installation-tests.sh

passed=0
failed=0
skipped=0
notes=()
failures=()
name=${TEST_CLUSTER:-test}
cluster_began=

[ $# -gt 0 ] || set -- unit health postgres cluster
stages=" $* "
for stage in "$@"; do
    case $stage in
        unit | health | postgres | cluster) ;;
        *) fail "test: $stage is not one of unit, health, postgres, cluster" ;;
    esac
done
asked() { [[ $stages == *" $1 "* ]]; }

# run_cargo STAGE ARGUMENT…: runs cargo test, adds up what its test programs report. A program that does not compile or dies
# reports nothing: that is one failure.
run_cargo() {
    local stage=$1 log=$logs/test-$1.log code=0 counts
    shift
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log" || code=$?
    # test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s
    counts=$(awk '/^test result: / { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$log")
    read -r p f i <<<"$counts"
    [ "$code" = 0 ] || [ "$f" != 0 ] || f=1
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + i))
    [ "$i" = 0 ] || notes+=("$i ignored in the $stage stage: $log")
    [ "$f" = 0 ] || failures+=("$log")
    say "$stage stage: $p passed, $f failed, $i skipped"
}

# check WHAT COMMAND…: one test of this script's own.
check() {
    local what=$1 log=$logs/check.log
    shift
    if "$@" >"$log" 2>&1; then
        passed=$((passed + 1))
        say "ok: $what"
    else
        failed=$((failed + 1))
        say "FAILED: $what"
        tail -n 40 "$log"
    fi
}

# shellcheck disable=SC2317 # called by the trap
finish() {
    local code=$?
    end_beside
    if [ -n "$cluster_began" ]; then
        if [ "${KEEP_CLUSTER-}" = 1 ]; then
            say "cluster $name stays up: eval \"\$(hack/cluster.sh env --name $name)\"; make cluster-down NAME=$name ends it"
        else
            cluster down --name "$name" || code=1
        fi
    fi
    for note in ${notes[@]+"${notes[@]}"}; do
        say "note: $note"
    done
    # Once more at the end, where a reader of a log of thousands of lines looks first.
    for log in ${failures[@]+"${failures[@]}"}; do
        say "failed, in $log:"
        grep -hE '^test .* FAILED$|^VIOLATION ' "$log" | head -n 20 || true
        grep -hA 6 ' panicked at ' "$log" | grep -vE '^stack backtrace:|^ +[0-9]+: ' | cut -c 1-1000 | head -n 60 || true
    done
    # Ended early by something that no test counted.
    if [ "$code" != 0 ] && [ "$failed" = 0 ]; then failed=1; fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$code" = 0 ] && exit 0
    exit 1
}
trap finish EXIT
trap 'exit 130' INT TERM

# The states come from the functions that build every status; the rules from kstatus itself and from examples/argocd.
health_stage() {
    local states=$target/health-states.json
    rm -f "$states"
    ERROR_TRACKING_HEALTH_STATES=$states run_cargo health --lib every_state_has_the_conditions
    if ! command -v go >/dev/null; then
        skipped=$((skipped + 1))
        notes+=("kstatus' and Argo CD's verdicts and the tests of the alerts are left out: go is not installed")
        return
    fi
    check "kstatus and Argo CD judge every state as expected" verdicts "$states"
    cat "$logs/health.log"
    check "every alert fires when it must and stays silent when it must not" hack/alert-tests.sh
}
# shellcheck disable=SC2317 # called by check
verdicts() { (cd tests/health && go run . "$1" ../../examples/argocd/argocd-cm.yaml) | tee "$logs/health.log"; }

cluster_stage() {
    say "cluster stage"
    await kubernetes "Kubernetes, CoreDNS and helm"
    await test-image "the test image (PostgreSQL, Python)"
    await runner-image "the doubles of GitLab Runner"
    previous_images
    hack/images.sh dev
    cluster_began=yes
    cluster up --name "$name"
    local environment
    environment=$(cluster env --name "$name")
    eval "$environment"
    chart_tests
    # Before the chart is installed: its operator would look after the same objects.
    export ERROR_TRACKING_CLUSTER=$name
    say "tests/process in the cluster"
    run_cargo process --test process -- --test-threads=1
    # The charts that are installed next bring their own.
    kubectl delete crd --ignore-not-found clientkeys.errortracking.dev errortrackingprojects.errortracking.dev \
        runnerbindings.errortracking.dev httproutes.gateway.networking.k8s.io runners.apps.gitlab.com >/dev/null
    install_previous
    # For the doubles of GitLab Runner, which tests/operator binds.
    cluster load --name "$name" "$target/images/runner.tar"
    if CHART_SETTINGS=runnerBinding.enabled=true hack/install.sh "$name"; then
        passed=$((passed + 1))
        upgrade_tests
        example_tests
        ERROR_TRACKING_IMAGE=$(cat "$target/images/operator.name")
        export ERROR_TRACKING_IMAGE
        export ERROR_TRACKING_TEST_IMAGE=localhost/error-tracking-test:dev
        say "tests/operator in the cluster"
        run_cargo cluster --test operator -- --test-threads=2
        uninstall_tests
    else
        failed=$((failed + 1))
        say "FAILED: the chart installs"
    fi
    [ "$failed" = 0 ] || hack/describe.sh
}

needs=(build)
! asked postgres || needs+=(postgres)
if asked cluster; then
    if [ "$(id -u)" = 0 ]; then
        needs+=(cluster runner)
    else
        skipped=$((skipped + 1))
        notes+=("the cluster stage is left out: a node needs root (sudo -E make test)")
        stages=${stages/ cluster / }
    fi
fi
[ -d "$root/../shared/data/events" ] || notes+=("the sample events of ../shared/data/events are not there: the tests with them are left out")

hack/prerequisites.sh "${needs[@]}"
if asked cluster; then
    say "Kubernetes and the test image are built beside the crate (cold, 2 cores: about 20 minutes together)"
    beside kubernetes hack/cluster.sh build
    beside test-image images/build.sh test "$target/images/test.tar"
    beside runner-image hack/images.sh runner
fi
if asked unit; then
    say "unit stage (cold, 2 cores: the crates take about 10 minutes first)"
    run_cargo unit --lib --bins
fi
if asked health; then
    say "health stage"
    health_stage
fi
if asked postgres; then
    say "Postgres stage"
    run_cargo postgres --test store --test ingest --test console --test key_servers
fi
if asked cluster; then
    cluster_stage
fi
exit 0
