#!/usr/bin/env bash
# lint.sh: everything that can be said about the sources without running a test. Goes through all of it, then fails if anything did.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

failed=0
left_out=()

check() {
    local what=$1
    shift
    say "$what"
    "$@" || {
        failed=$((failed + 1))
        say "FAILED: $what" >&2
    }
}

go_is_formatted() {
    local files
    files=$(gofmt -l tests/cluster tests/health tests/runner)
    [ -z "$files" ] || { echo "gofmt -w $files"; return 1; }
}
go_vet() {
    local double
    (cd tests/cluster && go vet ./cmd/cluster ./cmd/pause) && (cd tests/health && go vet .) && (cd tests/runner/double && go vet ./...) || return 1
    for double in tests/runner/{raven,sentry-*}; do
        (cd "$double" && go vet .) || return 1
    done
}
scripts() { find . -name '*.sh' -not -path './target/*' -not -path './.git/*' -print0; }
shell_is_clean() { { scripts; printf '.ci/run\0'; } | xargs -0 shellcheck -x; }

# Each word that a condition can give as its reason, and each alert of the chart.
operations_are_explained() {
    local word missing=0
    for word in $(sed -n '/^impl Reason/,/^}/s/.*=> "\(.*\)",/\1/p' src/crd/conditions.rs) \
        $(sed -n 's/.*- alert: //p' charts/error-tracking-operator/templates/metrics/prometheusrule.yaml); do
        grep -q "\`$word\`" docs/operations.md docs/alerts.md || { echo "neither docs/operations.md nor docs/alerts.md explains $word"; missing=1; }
    done
    return "$missing"
}

prose_is_short() { git ls-files -z --cached --others --exclude-standard -- '*.md' | xargs -0 hack/prose.py; }

# The files that docs/architecture.md leads through are there, and none is named twice.
ways_lead_through_files() {
    local way file failed=0
    way=$(sed -n '/^## The way/,/^## [^T]/p' docs/architecture.md | sed -n 's/^[0-9]*[.] .\([a-z0-9_/.]*\). .*/\1/p')
    [ -n "$way" ] || { echo "docs/architecture.md has no way"; return 1; }
    for file in $way; do
        [ -f "src/$file" ] || [ -f "$file" ] || { echo "docs/architecture.md: there is no $file"; failed=1; }
    done
    for file in $(sort <<<"$way" | uniq --repeated); do
        echo "docs/architecture.md names $file twice"
        failed=1
    done
    return "$failed"
}

# Prints what is wrong and keeps the last line for the end.
house=
arrows_hold() {
    local code=0
    house=$(hack/house.py) || code=1
    return "$code"
}

hack/prerequisites.sh build
check "cargo fmt" cargo fmt --check
check "cargo clippy" cargo clippy --locked --all-targets --quiet -- -D warnings
# Not among all targets, as it is no test of `cargo test`.
check "cargo clippy, fuzz" cargo clippy --locked --test fuzz --quiet -- -D warnings
check "who names whom, files of up to 500 lines, tasks with an owner" arrows_hold
check "that check finds what it should" hack/house.py --self-test
check "lines of prose have at most 120 characters" prose_is_short
check "the ways in docs/architecture.md lead through files" ways_lead_through_files
check "custom resource definitions are current" hack/crds.sh --check
check "the chart's README is current" hack/chart-readme.py --check
check "docs/operations.md and docs/alerts.md explain every reason and alert" operations_are_explained

if command -v go >/dev/null; then
    check "gofmt" go_is_formatted
    check "go vet" go_vet
else
    left_out+=("gofmt and go vet: go is not installed")
fi

helm=$(helm_program)
if [ -n "$helm" ]; then
    check "helm lint" "$helm" lint --strict --quiet --set image.repository=example/operator charts/error-tracking-operator
else
    left_out+=("helm lint: helm is not there (make cluster-up builds it)")
fi

if command -v shellcheck >/dev/null; then
    check "shellcheck" shell_is_clean
else
    left_out+=("shellcheck: not installed (apt-get install shellcheck)")
fi

if cargo deny --version >/dev/null 2>&1; then
    check "cargo deny: licences, bans, sources" cargo deny --log-level error check licenses bans sources
    if cargo deny --log-level error fetch db >/dev/null 2>&1; then
        check "cargo deny: advisories" cargo deny --log-level error check --disable-fetch advisories
    else
        left_out+=("cargo deny advisories: their database cannot be had from here")
    fi
else
    left_out+=("cargo deny: not installed (cargo install cargo-deny)")
fi

for what in ${left_out[@]+"${left_out[@]}"}; do
    say "left out: $what"
done
echo "$house"
[ "$failed" = 0 ] || fail "lint: $failed failed"
say "lint: clean, ${#left_out[@]} left out"
