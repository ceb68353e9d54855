# shellcheck shell=bash disable=SC2317 # functions called by name
# Sourced by test.sh, which has `check`: what the chart promises, read from what helm renders.

# render VALUE…: the chart as helm would install it; what helm says on failure comes out too.
render() {
    local set=()
    for value in "$@"; do set+=(--set "$value"); done
    helm template error-tracking charts/error-tracking-operator --namespace error-tracking \
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
        && grep -A 1 'name: ERROR_TRACKING_DATABASE_SECRET' <<<"$out" | grep -q 'value: "pg"$' \
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

# document KIND NAME: that one manifest of what is rendered.
document() {
    awk -v kind="kind: $1" -v name="  name: $2" -v RS='---\n' '("\n" $0) ~ ("\n" kind "\n") && ("\n" $0) ~ ("\n" name "\n")'
}

takes_the_finalizers_off_before_an_uninstallation() {
    local out job
    out=$(render image.repository=example/operator) \
        && job=$(document Job error-tracking-uninstall <<<"$out") \
        && grep -q 'helm.sh/hook: pre-delete' <<<"$job" && grep -q 'args: \[release\]' <<<"$job" \
        && grep -q 'activeDeadlineSeconds' <<<"$job" && grep -q 'runAsNonRoot: true' <<<"$job" \
        && [ "$(grep -c 'helm.sh/hook: pre-delete' <<<"$out")" = 7 ]
}

leaves_the_finalizers_on_when_asked() {
    local out
    out=$(render image.repository=example/operator uninstall.releaseFinalizers=false) && ! grep -q 'helm.sh/hook' <<<"$out"
}

lets_a_secret_be_named_by_those_who_may_read_it_only() {
    local out
    out=$(render image.repository=example/operator) \
        && document ValidatingAdmissionPolicy error-tracking-secret-reference <<<"$out" | grep -q 'failurePolicy: Fail' \
        && document ValidatingAdmissionPolicyBinding error-tracking-secret-reference <<<"$out" | grep -q 'validationActions: \[Deny\]' \
        && out=$(render image.repository=example/operator admissionPolicy.enabled=false) && ! grep -q 'ValidatingAdmissionPolicy' <<<"$out"
}

hands_the_guards_to_the_operator() {
    local out
    out=$(render image.repository=example/operator 'guards.allowedDatabaseHosts={db.example,*.databases.svc}' \
        guards.maxProjectsPerNamespace=0 guards.maxKeysPerNamespace=1000000 guards.maxRollouts=2) \
        && grep -qF -- '- "--allowed-database-host=db.example"' <<<"$out" \
        && grep -qF -- '- "--allowed-database-host=*.databases.svc"' <<<"$out" \
        && grep -q -- '- --max-projects-per-namespace=0$' <<<"$out" && grep -q -- '- --max-keys-per-namespace=1000000$' <<<"$out" \
        && grep -q -- '- --max-rollouts=2$' <<<"$out" \
        && out=$(render image.repository=example/operator) && ! grep -qE -- '--(allowed-database-host|max-(projects|keys)-)' <<<"$out"
}

refuses_a_guard_that_is_no_host_or_no_number() {
    local value out
    for value in 'guards.allowedDatabaseHosts={*}' 'guards.allowedDatabaseHosts={a b}' guards.maxRollouts=0 guards.maxKeysPerNamespace=-1; do
        ! out=$(render image.repository=example/operator "$value") && grep -qE 'guards[./]' <<<"$out" || return 1
    done
}

monitors_only_where_the_prometheus_operator_is() {
    local out
    ! out=$(render image.repository=example/operator metrics.podMonitor.enabled=true) && grep -q 'monitoring.coreos.com' <<<"$out" \
        && out=$(helm template error-tracking charts/error-tracking-operator --set image.repository=example/operator \
            --set metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true --api-versions monitoring.coreos.com/v1 2>&1) \
        && grep -q '^kind: PodMonitor$' <<<"$out" && grep -q '^kind: PrometheusRule$' <<<"$out" \
        && out=$(render image.repository=example/operator) && ! grep -qE 'kind: (PodMonitor|PrometheusRule)' <<<"$out"
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
        gives_the_operator_no_wildcard_right \
        takes_the_finalizers_off_before_an_uninstallation \
        leaves_the_finalizers_on_when_asked \
        lets_a_secret_be_named_by_those_who_may_read_it_only \
        hands_the_guards_to_the_operator \
        refuses_a_guard_that_is_no_host_or_no_number \
        monitors_only_where_the_prometheus_operator_is; do
        check "chart: ${behaviour//_/ }" "$behaviour"
    done
}

# The examples against the API server's schemas and rules, with the chart installed.
example_tests() {
    local example namespace
    for example in examples/*/kustomization.yaml; do
        example=${example%/kustomization.yaml}
        # A dry run makes no namespace for the rest to be in.
        namespace=$(sed -n 's/^namespace: //p' "$example/kustomization.yaml")
        kubectl create namespace "$namespace" >/dev/null
        check "$example is accepted by the API server" kubectl apply --server-side --dry-run=server -k "$example"
        kubectl delete namespace "$namespace" >/dev/null
    done
}
