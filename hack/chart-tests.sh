# shellcheck shell=bash disable=SC2317 # functions called by name
# Sourced by test.sh, which has `check`: what the chart promises, read from what helm renders.

# render VALUE…: the chart as helm would install it; what helm says on failure comes out too.
render() {
    local set=()
    for value in "$@"; do set+=(--set "$value"); done
    helm template error-tracking charts/error-tracking-operator --namespace error-tracking --kube-version 1.37.0 \
        ${set[@]+"${set[@]}"} 2>&1
}

brings_its_own_postgres_by_default() {
    local out
    out=$(render image.repository=example/operator) \
        && grep -q '^kind: StatefulSet$' <<<"$out" \
        && grep -q -- '- --create-database-secret-for=error-tracking-postgresql.error-tracking.svc$' <<<"$out"
}

an_existing_database_leaves_the_evaluation_postgres_out() {
    local out
    out=$(render image.repository=example/operator database.existingSecret=pg) \
        && grep -q -- '- --database-secret=pg$' <<<"$out" \
        && ! grep -qE 'kind: StatefulSet|--create-database-secret-for|error-tracking-postgresql' <<<"$out"
}

says_what_to_do_without_a_database() {
    local out
    ! out=$(render image.repository=example/operator postgresql.enabled=false) && grep -q 'set database.existingSecret' <<<"$out"
}

says_what_to_do_without_an_image() {
    local out
    ! out=$(render) && grep -q 'image.repository is not set' <<<"$out"
}

refuses_a_value_that_it_does_not_know() {
    local out
    ! out=$(render image.repository=example/operator operator.replica=1) && grep -q 'additional properties' <<<"$out"
}

keeps_both_custom_resource_definitions_on_uninstall() {
    local out
    out=$(render image.repository=example/operator) \
        && [ "$(grep -c '^kind: CustomResourceDefinition$' <<<"$out")" = 2 ] \
        && [ "$(grep -c '^    helm.sh/resource-policy: keep$' <<<"$out")" = 2 ]
}

leaves_the_custom_resource_definitions_out_when_asked() {
    local out
    out=$(render image.repository=example/operator crds.install=false) && ! grep -q '^kind: CustomResourceDefinition$' <<<"$out"
}

gives_the_operator_no_wildcard_right() {
    local out
    out=$(render image.repository=example/operator crds.install=false) && ! grep -qE "(verbs|resources|apiGroups):.*[\"'[ ]\*" <<<"$out"
}

chart_tests() {
    check "the chart lints" helm lint --strict --set image.repository=example/operator charts/error-tracking-operator
    local behaviour
    for behaviour in \
        brings_its_own_postgres_by_default \
        an_existing_database_leaves_the_evaluation_postgres_out \
        says_what_to_do_without_a_database \
        says_what_to_do_without_an_image \
        refuses_a_value_that_it_does_not_know \
        keeps_both_custom_resource_definitions_on_uninstall \
        leaves_the_custom_resource_definitions_out_when_asked \
        gives_the_operator_no_wildcard_right; do
        check "chart: ${behaviour//_/ }" "$behaviour"
    done
}

# The examples against the API server's schemas and rules, with the chart installed.
example_tests() {
    local example
    for example in examples/*/; do
        example=${example%/}
        # A dry run makes no namespace for the rest to be in.
        kubectl apply -f "$example/namespace.yaml" >/dev/null
        check "$example is accepted by the API server" kubectl apply --dry-run=server -k "$example"
        kubectl delete -f "$example/namespace.yaml" >/dev/null
    done
}
