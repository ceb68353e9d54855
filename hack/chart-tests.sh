# shellcheck shell=bash disable=SC2317 # functions called by name
# Sourced by test.sh, which has `check`: what the chart promises, read from what helm renders.

# What a caller says that the cluster knows beside Kubernetes' own kinds.
apis=()

# has ARGUMENT…: grep without words. It reads to the end, as -q does not: who writes into the pipe would die of it.
has() { grep "$@" >/dev/null; }

# render VALUE…: the chart as helm would install it; what helm says on failure comes out too.
render() {
    local set=() value
    for value in "$@"; do set+=(--set "$value"); done
    helm template error-tracking charts/error-tracking-operator --namespace error-tracking \
        ${apis[@]+"${apis[@]}"} ${set[@]+"${set[@]}"} 2>&1
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
        && grep -A 1 'name: ERROR_TRACKING_DATABASE_SECRET' <<<"$out" | has 'value: "pg"$' \
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

keeps_the_custom_resource_definitions_on_uninstall() {
    local out
    out=$(render image.repository=example/operator) \
        && [ "$(grep -c '^kind: CustomResourceDefinition$' <<<"$out")" = 3 ] \
        && [ "$(grep -c '^    helm.sh/resource-policy: keep$' <<<"$out")" = 3 ]
}

leaves_the_custom_resource_definitions_out_when_asked() {
    local out
    out=$(render image.repository=example/operator crds.enabled=false) && ! grep -q '^kind: CustomResourceDefinition$' <<<"$out"
}

gives_the_operator_no_wildcard_right() {
    local out
    out=$(render image.repository=example/operator crds.enabled=false) && ! grep -qE "(verbs|resources|apiGroups):.*[\"'[ ]\*" <<<"$out"
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

lets_a_project_ask_only_for_what_its_author_may_do() {
    local out policy
    out=$(render image.repository=example/operator) \
        && policy=$(document ValidatingAdmissionPolicy error-tracking-project <<<"$out") \
        && grep -q 'failurePolicy: Fail' <<<"$policy" && grep -qF '["app.kubernetes.io","cert-manager.io","prometheus.io"]' <<<"$policy" \
        && [ "$(grep -c 'check("create")' <<<"$policy")" = 2 ] && [ "$(grep -c 'check("get")' <<<"$policy")" = 14 ] \
        && document ValidatingAdmissionPolicyBinding error-tracking-project <<<"$out" | has 'validationActions: \[Deny\]' \
        && out=$(render image.repository=example/operator 'guards.allowedKeyPrefixes={*}') && ! grep -q 'variables.prefixes' <<<"$out" \
        && out=$(render image.repository=example/operator admissionPolicy.enabled=false) && ! grep -q 'ValidatingAdmissionPolicy' <<<"$out"
}

# rights VALUE…: what the operator may do in every namespace.
rights() { render image.repository=example/operator crds.enabled=false "$@" | document ClusterRole error-tracking-operator; }

gives_rights_over_runners_only_when_asked() {
    local role out
    role=$(rights) \
        && grep -q 'resources: \[errortrackingprojects, clientkeys, runnerbindings\]$' <<<"$role" \
        && ! grep -qE 'configmaps|statefulsets|apps\.gitlab\.com' <<<"$role" \
        && role=$(rights runnerBinding.enabled=true) && grep -q 'apiGroups: \[apps.gitlab.com\]$' <<<"$role" \
        && [ "$(grep -cE 'resources: \[(configmaps|runners|statefulsets, daemonsets)\]' <<<"$role")" = 3 ] \
        && role=$(rights restartWorkloads.enabled=true) && ! grep -qE 'configmaps|apps\.gitlab\.com' <<<"$role" \
        && role=$(rights runnerBinding.enabled=true restartWorkloads.enabled=true) \
        && [ "$(grep -c 'statefulsets' <<<"$role")" = 1 ] \
        && out=$(render image.repository=example/operator runnerBinding.enabled=true) && grep -q -- '- --runner-bindings$' <<<"$out" \
        && out=$(render image.repository=example/operator) && ! grep -q -- '--runner-bindings' <<<"$out" \
        && [ "$(grep -c 'resources: \[errortrackingprojects, clientkeys, runnerbindings\]$' <<<"$out")" = 4 ]
}

# policy NAME VALUE…: one of the admission policies.
policy() {
    local name=$1
    shift
    render image.repository=example/operator "$@" | document ValidatingAdmissionPolicy "error-tracking-$name"
}

lets_a_runner_binding_ask_only_for_what_its_author_may_do() {
    local policy
    policy=$(policy runnerbinding runnerBinding.enabled=true) \
        && grep -q 'failurePolicy: Fail' <<<"$policy" && [ "$(grep -c 'check("patch")' <<<"$policy")" = 2 ] \
        && [ "$(grep -c 'check("update")' <<<"$policy")" = 2 ] && grep -q 'object.?spec != oldObject.?spec' <<<"$policy" \
        && policy=$(policy runnerbinding runnerBinding.enabled=true 'watchNamespaces={web}') && grep -qF 'values: ["web"]' <<<"$policy" \
        && [ -n "$(policy runnerbinding)" ] && [ -z "$(policy runnerbinding runnerBinding.enabled=true admissionPolicy.enabled=false)" ]
}

# Exceptions come with what they are for, and the account is the one that the operator runs as.
lets_the_operator_change_only_what_it_made() {
    local policy
    policy=$(policy own) && grep -q 'failurePolicy: Fail' <<<"$policy" \
        && grep -qF '"system:serviceaccount:error-tracking:error-tracking-operator"' <<<"$policy" \
        && grep -q 'expression: variables.own$' <<<"$policy" && ! grep -qE 'restarted-at|sentryDsn|sameMetadata' <<<"$policy" \
        && policy=$(policy own restartWorkloads.enabled=true) && grep -q 'expression: variables.own || variables.restarts$' <<<"$policy" \
        && ! grep -qE 'sentryDsn|binaryData' <<<"$policy" \
        && policy=$(policy own runnerBinding.enabled=true operator.serviceAccount.name=errors) \
        && grep -qF '"system:serviceaccount:error-tracking:errors"' <<<"$policy" \
        && grep -q 'expression: variables.own || variables.restarts || variables.edits || variables.setsDSN$' <<<"$policy" \
        && [ -z "$(policy own admissionPolicy.enabled=false)" ]
}

hands_the_guards_to_the_operator() {
    local out
    out=$(render image.repository=example/operator 'guards.allowedDatabaseHosts={db.example,*.databases.svc}' \
        guards.maxProjectsPerNamespace=0 guards.maxKeysPerNamespace=1000000 guards.maxRollouts=2 \
        'guards.allowedKeyPrefixes={prometheus.io,*.example.com}' \
        'guards.allowedBackendHosts={*.sentry.io,http://sentry-web.sentry.svc:9000}' \
        guards.maxIngestPodsPerNamespace=7 operator.ingestLoginLifetime=720h) \
        && grep -A1 ERROR_TRACKING_ALLOWED_DATABASE_HOSTS <<<"$out" | has -F 'value: "db.example,*.databases.svc"' \
        && grep -qF -- '- --allowed-backend-host=*.sentry.io,http://sentry-web.sentry.svc:9000' <<<"$out" \
        && grep -q -- '- --max-projects-per-namespace=0$' <<<"$out" && grep -q -- '- --max-keys-per-namespace=1000000$' <<<"$out" \
        && grep -q -- '- --max-rollouts=2$' <<<"$out" && grep -qF -- '- --allowed-key-prefix=prometheus.io,*.example.com' <<<"$out" \
        && grep -q -- '- --max-ingest-pods-per-namespace=7$' <<<"$out" && grep -q -- '- --ingest-login-lifetime=720h$' <<<"$out" \
        && out=$(render image.repository=example/operator guards.maxIngestPodsPerNamespace=null) \
        && ! grep -q -- '--max-ingest-pods' <<<"$out" \
        && out=$(render image.repository=example/operator) && ! grep -qE -- 'ALLOWED_DATABASE_HOSTS|--max-(projects|keys)-' <<<"$out"
}

hands_registry_and_user_on_to_ingest_pods() {
    local out
    out=$(render image.repository=example/operator 'imagePullSecrets[0].name=registry' 'imagePullSecrets[1].name=mirror' \
        podSecurityContext.runAsUser=1000700000) \
        && grep -q -- '- --ingest-image-pull-secret=registry$' <<<"$out" && grep -q -- '- --ingest-image-pull-secret=mirror$' <<<"$out" \
        && grep -q -- '- --ingest-user-id=1000700000$' <<<"$out" \
        && out=$(render image.repository=example/operator) && ! grep -q -- '--ingest-image-pull-secret' <<<"$out" \
        && grep -q -- '- --ingest-user-id=65532$' <<<"$out"
}

makes_roles_for_some_namespaces_and_no_cluster_role_but_the_consoles() {
    local out apis=(--api-versions monitoring.coreos.com/v1) kind
    out=$(render image.repository=example/operator 'watchNamespaces={web,api}' metrics.podMonitor.enabled=true) || return 1
    for kind in ClusterRole ClusterRoleBinding; do
        [ "$(grep -c "^kind: $kind\$" <<<"$out")" = 1 ] && [ -n "$(document "$kind" error-tracking-console <<<"$out")" ] || return 1
    done
    # The operator's and those of the Job before an uninstallation, in both and in the release's own.
    for kind in Role RoleBinding; do
        [ "$(grep -c "^kind: $kind\$" <<<"$out")" = 6 ] && [ "$(document "$kind" error-tracking-operator-projects <<<"$out" | grep -cE '^  namespace: (web|api)$')" = 2 ] \
            || return 1
    done
    [ "$(grep -A 1 ERROR_TRACKING_WATCH_NAMESPACES <<<"$out" | grep -c 'value: "web,api"')" = 2 ] \
        && document ValidatingAdmissionPolicy error-tracking-project <<<"$out" | has -F 'values: ["web","api"]' \
        && grep -A 4 'matchNames:' <<<"$out" | has -- '- api$' \
        && out=$(render image.repository=example/operator) && ! grep -qE 'WATCH_NAMESPACES|operator-projects' <<<"$out" \
        && [ "$(grep -c '^kind: ClusterRole$' <<<"$out")" = 7 ]
}

# consoles KIND VALUE…: that manifest of the console.
consoles() {
    local kind=$1
    shift
    render image.repository=example/operator "$@" | document "$kind" error-tracking-console
}

# An Ingress and an HTTPRoute of the console, as values.
by_ingress=(console.ingress.enabled=true console.ingress.host=errors.example.com console.ingress.tls.secretName=errors-tls)
by_gateway=(console.gateway.enabled=true 'console.gateway.parentRefs[0].name=public' 'console.gateway.hostnames={pages.example.com}')

asks_everybody_to_sign_in_to_the_console() {
    local out apis=(--api-versions gateway.networking.k8s.io/v1)
    out=$(consoles Deployment) \
        && grep -q -- '- --listen=0.0.0.0:8000$' <<<"$out" && grep -q -- '- --sign-in=kubernetes$' <<<"$out" \
        && grep -q 'automountServiceAccountToken: true$' <<<"$out" && grep -q 'replicas: 2$' <<<"$out" \
        && grep -q 'maxUnavailable: 0' <<<"$out" && ! grep -q -- '--host=' <<<"$out" \
        && out=$(consoles Service) && grep -q 'port: 80$' <<<"$out" && grep -q 'targetPort: http$' <<<"$out" \
        && out=$(render image.repository=example/operator "${by_ingress[@]}" "${by_gateway[@]}" 'watchNamespaces={web}' \
            console.replicaCount=1) \
        && [ "$(grep -c -- '--sign-in' <<<"$out")" = 1 ] && ! grep -q -- '--sign-in=none' <<<"$out"
}

answers_to_the_names_of_its_ingress_and_route_and_no_others() {
    local out apis=(--api-versions gateway.networking.k8s.io/v1)
    out=$(consoles Deployment "${by_ingress[@]}" "${by_gateway[@]}" 'console.hosts={errors.internal,pages.example.com}') \
        && [ "$(grep -o -- '--host=.*' <<<"$out" | tr '\n' ' ')" = '--host=errors.example.com --host=pages.example.com --host=errors.internal ' ] \
        && out=$(consoles Deployment console.ingress.host=errors.example.com) && ! grep -q -- '--host=' <<<"$out"
}

names_the_pages_of_a_project_in_its_status() {
    local out operator=(image.repository=example/operator "${by_ingress[@]}")
    out=$(render "${operator[@]}") && grep -q -- '- --console-url=https://errors.example.com$' <<<"$out" \
        && out=$(render "${operator[@]}" console.enabled=false) && ! grep -q -- '--console-url' <<<"$out" \
        && out=$(render image.repository=example/operator) && ! grep -q -- '--console-url' <<<"$out"
}

leads_an_ingress_with_tls_to_the_console() {
    local out
    out=$(consoles Ingress "${by_ingress[@]}" console.ingress.className=nginx \
        'console.ingress.annotations.cert-manager\.io/cluster-issuer=letsencrypt') \
        && grep -A 2 '^  tls:' <<<"$out" | has 'secretName: errors-tls$' && grep -q 'hosts: \["errors.example.com"\]' <<<"$out" \
        && grep -q 'ingressClassName: nginx$' <<<"$out" && grep -q '^    cert-manager.io/cluster-issuer: letsencrypt$' <<<"$out" \
        && grep -A 1 'service:' <<<"$out" | has 'name: error-tracking-console$' \
        && [ -z "$(consoles Ingress)" ] && [ -z "$(consoles Ingress "${by_ingress[@]}" console.enabled=false)" ]
}

leads_a_route_of_a_gateway_to_the_console() {
    local out apis=(--api-versions gateway.networking.k8s.io/v1)
    out=$(consoles HTTPRoute "${by_gateway[@]}" 'console.gateway.parentRefs[0].sectionName=https') \
        && grep -A 2 'parentRefs:' <<<"$out" | has 'sectionName: https$' && grep -A 1 'hostnames:' <<<"$out" | has -- '- pages.example.com$' \
        && grep -A 2 'backendRefs:' <<<"$out" | has 'name: error-tracking-console$' \
        && [ -z "$(consoles HTTPRoute)" ] \
        && ! out=$(render image.repository=example/operator console.gateway.enabled=true) && grep -q 'parentRefs is empty' <<<"$out" \
        && ! out=$(render image.repository=example/operator "${by_gateway[@]}" console.gateway.hostnames=null) \
        && grep -q 'hostnames is empty' <<<"$out"
}

# The OpenID provider of the console, as values.
by_oidc=(console.oidc.issuer=https://login.example.com/team console.oidc.clientID=console console.oidc.existingSecret=console-oidc)

sends_people_to_their_identity_provider_when_asked() {
    local out
    out=$(consoles Deployment) && ! grep -q 'oidc' <<<"$out" \
        && out=$(consoles Deployment "${by_oidc[@]}" 'console.oidc.name=Team login' 'console.oidc.groupsPrefix=' 'console.oidc.scopes={openid,groups}') \
        && grep -q -- '- "--oidc-issuer=https://login.example.com/team"$' <<<"$out" && grep -q -- '- "--oidc-client-id=console"$' <<<"$out" \
        && grep -q -- '- "--oidc-name=Team login"$' <<<"$out" && grep -q -- '- "--oidc-groups-prefix="$' <<<"$out" \
        && grep -q -- '- "--oidc-username-prefix=oidc:"$' <<<"$out" && [ "$(grep -c -- '--oidc-scope=' <<<"$out")" = 2 ] \
        && grep -q 'mountPath: /etc/error-tracking/oidc$' <<<"$out" && grep -q 'secretName: console-oidc$' <<<"$out" \
        && out=$(consoles NetworkPolicy "${by_oidc[@]}" 'networkPolicy.oidcPorts={8443}') && grep -q 'port: 8443}' <<<"$out" \
        && out=$(consoles NetworkPolicy 'networkPolicy.oidcPorts={8443}') && ! grep -q 'port: 8443}' <<<"$out"
}

guards_a_console_of_several_pods_from_a_drain() {
    [ -n "$(consoles PodDisruptionBudget)" ] && [ -z "$(consoles PodDisruptionBudget console.replicaCount=1)" ] \
        && [ -z "$(consoles PodDisruptionBudget console.podDisruptionBudget.enabled=false)" ] \
        && consoles Deployment | grep -A 9 'topologySpreadConstraints:' | has 'app.kubernetes.io/name: error-tracking-console$'
}

lets_everybody_reach_the_console_unless_peers_are_named() {
    local out
    out=$(consoles NetworkPolicy) && grep -q 'port: http}' <<<"$out" && ! grep -q 'from:' <<<"$out" && grep -q 'port: 6443}' <<<"$out" \
        && out=$(consoles NetworkPolicy 'networkPolicy.consoleFrom[0].namespaceSelector.matchLabels.team=ingress') \
        && [ "$(grep -c 'from:' <<<"$out")" = 1 ] && grep -A 5 'port: http}' <<<"$out" | has 'team: ingress$'
}

lets_databases_that_projects_may_name_be_reached() {
    consoles NetworkPolicy | has 'app.kubernetes.io/name: error-tracking-postgresql$' \
        && ! consoles NetworkPolicy 'guards.allowedDatabaseHosts={db.example}' | has 'app.kubernetes.io/name: error-tracking-postgresql$'
}

# Each line of a role, without the comments.
rules_of() { sed -n '/^rules:/,$p' | sed 's/ *#.*//; /^rules:/d; /^ *$/d; s/^ *//' | tr '\n' ' '; }

lets_the_console_ask_for_reviews_and_nothing_else() {
    local values wanted
    wanted='- apiGroups: [authentication.k8s.io] resources: [tokenreviews] verbs: - create '
    wanted+='- apiGroups: [authorization.k8s.io] resources: [subjectaccessreviews] verbs: - create '
    for values in watchNamespaces=null 'watchNamespaces={web}'; do
        [ "$(consoles ClusterRole "$values" | rules_of)" = "$wanted" ] || return 1
        consoles ClusterRoleBinding "$values" console.serviceAccount.name=pages | grep -A 9 'subjects:' | has 'name: pages$' || return 1
    done
    for values in console.rbac.create=false console.enabled=false; do
        [ -z "$(consoles ClusterRole "$values")" ] && [ -z "$(consoles ClusterRoleBinding "$values")" ] || return 1
    done
}

# virtual ROLE: the rights that only the console asks about, as "verb resource", of a role that is aggregated.
virtual() {
    render image.repository=example/operator crds.enabled=false | document ClusterRole "error-tracking-$1" | rules_of \
        | grep -oP 'errortrackingprojects/\K[a-z]+\] verbs:( - [a-z]+(?= ))+' | sed 's/\(.*\)\] verbs: - \(.*\)/\2 \1/'
}

shows_events_to_those_who_may_edit_and_errors_to_those_who_may_view() {
    [ "$(virtual view)" = 'get issues' ] && [ "$(virtual edit)" = $'update issues\nget events\nget keys' ] && [ "$(virtual admin)" = 'delete issues' ] \
        && ! render image.repository=example/operator rbac.aggregateClusterRoles=false | has -E 'aggregate-to-|projects/(issues|events|keys)'
}

lets_controllers_of_service_binding_read_keys_unless_told_not_to() {
    local out role
    out=$(render image.repository=example/operator) \
        && role=$(document ClusterRole error-tracking-service-binding <<<"$out") \
        && grep -q 'servicebinding.io/controller: "true"' <<<"$role" \
        && grep -q 'resources: \[clientkeys\]' <<<"$role" && grep -q 'verbs: \[get, list, watch\]' <<<"$role" \
        && document CustomResourceDefinition clientkeys.errortracking.dev <<<"$out" | has 'servicebinding.io/provisioned-service: "true"' \
        && out=$(render image.repository=example/operator rbac.serviceBinding=false) && ! grep -q 'servicebinding.io/controller' <<<"$out" \
        && out=$(render image.repository=example/operator 'watchNamespaces={web}') && ! grep -q 'servicebinding.io/controller' <<<"$out"
}

monitors_only_where_the_prometheus_operator_is() {
    local out apis=()
    ! out=$(render image.repository=example/operator metrics.podMonitor.enabled=true) && grep -q 'monitoring.coreos.com' <<<"$out" \
        && apis=(--api-versions monitoring.coreos.com/v1) \
        && out=$(render image.repository=example/operator metrics.podMonitor.enabled=true metrics.prometheusRule.enabled=true) \
        && grep -q '^kind: PodMonitor$' <<<"$out" && grep -q '^kind: PrometheusRule$' <<<"$out" \
        && apis=() && out=$(render image.repository=example/operator) && ! grep -qE 'kind: (PodMonitor|PrometheusRule)' <<<"$out"
}

leaves_the_user_ids_to_the_platform_when_asked() {
    local out
    out=$(render image.repository=example/operator podSecurityContext.runAsUser=null podSecurityContext.runAsGroup=null \
        podSecurityContext.fsGroup=null postgresql.runAsUser=null) \
        && ! grep -qE '(runAsUser|runAsGroup|fsGroup):' <<<"$out" && grep -q -- '- --ingest-user-id=none$' <<<"$out" && [ "$(grep -c 'runAsNonRoot: true$' <<<"$out")" = 4 ] \
        && out=$(render image.repository=example/operator postgresql.runAsUser=70) && [ "$(grep -cE '(runAsUser|runAsGroup|fsGroup): 70$' <<<"$out")" = 3 ] \
        && [ "$(grep -cE '(runAsUser|runAsGroup|fsGroup): 65532$' <<<"$out")" = 9 ]
}

ships_a_dashboard_that_a_sidecar_finds_when_asked() {
    local out
    out=$(render image.repository=example/operator metrics.grafanaDashboard.enabled=true) \
        && out=$(document ConfigMap error-tracking-dashboard <<<"$out") && grep -q '^    grafana_dashboard: "1"$' <<<"$out" \
        && sed -n 's/^    //; /^  error-tracking.json: |$/,$p' <<<"$out" | sed 1d | python3 -m json.tool >/dev/null \
        && out=$(render image.repository=example/operator) && ! grep -q grafana_dashboard <<<"$out"
}

leaves_the_alert_on_size_out_when_asked() {
    local out apis=(--api-versions monitoring.coreos.com/v1)
    out=$(render image.repository=example/operator metrics.prometheusRule.enabled=true) \
        && grep -qE 'schema_bytes\) > 10737418240$' <<<"$out" \
        && out=$(render image.repository=example/operator metrics.prometheusRule.enabled=true metrics.prometheusRule.schemaBytes=null) \
        && ! grep -q ErrorTrackingSchemaLarge <<<"$out"
}

# Every object has it and every pod template; nothing selects by it, so that it can be changed.
puts_common_labels_on_every_object_and_in_no_selector() {
    local out apis=(--api-versions monitoring.coreos.com/v1)
    out=$(render image.repository=example/operator commonLabels.team=a-team metrics.podMonitor.enabled=true \
        metrics.prometheusRule.enabled=true) \
        && [ "$(grep -c '^    team: a-team$' <<<"$out")" = "$(grep -c '^kind: ' <<<"$out")" ] \
        && [ "$(grep -c '^        team: a-team$' <<<"$out")" = 4 ] \
        && [ "$(grep -c 'team: a-team$' <<<"$out")" = "$(($(grep -c '^kind: ' <<<"$out") + 4))" ]
}

runs_as_the_service_accounts_that_are_named() {
    local out
    out=$(render image.repository=example/operator operator.serviceAccount.name=errors \
        'operator.serviceAccount.annotations.example\.com/role=reader' \
        console.serviceAccount.create=false console.serviceAccount.name=pages) \
        && document ServiceAccount errors <<<"$out" | has '^    example.com/role: reader$' \
        && document Deployment error-tracking-operator <<<"$out" | has 'serviceAccountName: errors$' \
        && [ "$(grep -A 3 '^  - kind: ServiceAccount$' <<<"$out" | grep -c 'name: errors$')" = 2 ] \
        && document Deployment error-tracking-console <<<"$out" | has 'serviceAccountName: pages$' \
        && ! grep -q '  name: error-tracking-console$' <(grep -A 3 '^kind: ServiceAccount$' <<<"$out")
}

operators_deployment() { render image.repository=example/operator "$@" | document Deployment error-tracking-operator; }

spreads_the_operators_own_pods_unless_a_constraint_selects_others() {
    local out
    out=$(operators_deployment) \
        && grep -A 9 'topologySpreadConstraints:' <<<"$out" | has 'app.kubernetes.io/name: error-tracking-operator$' \
        && out=$(operators_deployment 'operator.topologySpreadConstraints[0].labelSelector.matchLabels.app=other' \
            'operator.topologySpreadConstraints[0].maxSkew=2' 'operator.topologySpreadConstraints[0].topologyKey=zone' \
            'operator.topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule') \
        && out=$(sed -n '/topologySpreadConstraints:/,$p' <<<"$out") && grep -q 'app: other$' <<<"$out" \
        && grep -q 'maxSkew: 2$' <<<"$out" && ! grep -q 'error-tracking-operator$' <<<"$out" \
        && out=$(operators_deployment 'operator.topologySpreadConstraints=null') && ! grep -q topologySpreadConstraints <<<"$out"
}

# refuses VALUE WORDS: rendering fails and says so in these words.
refuses() {
    local out
    if out=$(render image.repository=example/operator "$1"); then
        echo "it renders"
        return 1
    fi
    echo "$out"
    grep -qF -- "$2" <<<"$out"
}

# renders VALUE LINE: in some manifest.
renders() {
    local out
    out=$(render image.repository=example/operator "$1") && grep -F -- "$2" <<<"$out"
}

# One odd value a line, and what helm says of it.
odd_values() {
    local value words
    while IFS='|' read -r value words; do
        check "chart: refuses $value" refuses "$value" "$words"
    done <<'VALUES'
watchNamespaces={web,web}|at '/watchNamespaces'
watchNamespaces={*}|at '/watchNamespaces/0'
operator.replica=1|additional properties 'replica' not allowed
fullnameOverride=Errors|at '/fullnameOverride'
image.repository=foo:1.2|give the tag as image.tag
image.repository=registry.example:5000/foo:1.2|give the tag as image.tag
image.repository=foo@sha256:abc|a digest as image.digest
image.repository=Example/Operator|at '/image/repository'
image.repository=https://example/operator|at '/image/repository'
image.tag=a b|at '/image/tag'
image.digest=abc|at '/image/digest'
image.pullPolicy=Sometimes|value must be one of 'Always', 'IfNotPresent', 'Never'
imagePullSecrets[0].name=My_Secret|at '/imagePullSecrets/0/name'
imagePullSecrets={pull}|at '/imagePullSecrets/0': got string, want object
database.existingSecret=-pg|at '/database/existingSecret'
postgresql.image.repository=postgres:17|give the tag as postgresql.image.tag
postgresql.image.tag=|postgresql.image.tag is not set
postgresql.runAsUser=0|at '/postgresql/runAsUser'
postgresql.storage.size=8gb|at '/postgresql/storage/size'
postgresql.storage.storageClassName=Fast SSD|at '/postgresql/storage/storageClassName'
podSecurityContext.runAsUser=0|at '/podSecurityContext/runAsUser'
podSecurityContext.runAsRoot=true|additional properties 'runAsRoot' not allowed
containerSecurityContext.seccompProfile.type=Default|at '/containerSecurityContext/seccompProfile/type'
operator.replicaCount=-1|at '/operator/replicaCount'
operator.concurrency=0|at '/operator/concurrency'
operator.logLevel=verbose|value must be one of 'off', 'error', 'warn', 'info', 'debug', 'trace'
operator.logLevel=|at '/operator/logLevel'
operator.logLevel=error_tracking_operator=loud|at '/operator/logLevel'
operator.resources.requests.cpu=lots|at '/operator/resources/requests/cpu'
operator.resources.requests.cpu=-1|at '/operator/resources/requests/cpu'
operator.resources.limits.memory=256MB|at '/operator/resources/limits/memory'
operator.resources.limits.mem=256Mi|additional properties 'mem' not allowed
operator.podLabels.team=a team|at '/operator/podLabels/team'
operator.podLabels.on=true|got boolean, want string
operator.podAnnotations.-a=x|additional properties '-a' not allowed
operator.nodeSelector.disk=ssd!|at '/operator/nodeSelector/disk'
operator.tolerations[0].effect=NoSchedul|at '/operator/tolerations/0/effect'
operator.affinity.nodeAfinity.x=1|additional properties 'nodeAfinity' not allowed
operator.priorityClassName=High Priority|at '/operator/priorityClassName'
operator.extraArgs={leader}|at '/operator/extraArgs/0'
operator.serviceAccount.create=false|operator.serviceAccount.name is not set
operator.topologySpreadConstraints[0].maxSkew=0|at '/operator/topologySpreadConstraints/0'
operator.podLabels.app\.kubernetes\.io/name=x|app.kubernetes.io/name is a label of the chart's own
commonLabels.helm\.sh/chart=x|helm.sh/chart is a label of the chart's own
console.logLevel=2|at '/console/logLevel'
console.replicaCount=-1|at '/console/replicaCount'
console.ingress.enabled=true|console.ingress.host is not set
console.ingress.enabled=true,console.ingress.host=errors.example.com|console.ingress.tls.secretName is not set
console.ingress.host=errors.example.com:443|at '/console/ingress/host'
console.ingress.host=https://errors.example.com|at '/console/ingress/host'
console.ingress.tls.enabled=true|additional properties 'enabled' not allowed
console.hosts={*.example.com}|at '/console/hosts/0'
console.gateway.enabled=true|does not know gateway.networking.k8s.io/v1
console.gateway.hostnames={Errors}|at '/console/gateway/hostnames/0'
console.oidc.issuer=https://login.example.com|console.oidc.clientID is not set
console.oidc.issuer=https://login.example.com,console.oidc.clientID=console|console.oidc.existingSecret is not set
console.oidc.issuer=http://login.example.com|at '/console/oidc/issuer'
console.oidc.issuer=https://user@login.example.com|at '/console/oidc/issuer'
console.oidc.groupsPrefix=system:|at '/console/oidc/groupsPrefix'
console.oidc.scopes={a b}|at '/console/oidc/scopes/0'
console.oidc.clientSecret=x|additional properties 'clientSecret' not allowed
console.extraArgs={--sign-in=none}|at '/console/extraArgs/0'
networkPolicy.consoleFrom={ingress-nginx}|at '/networkPolicy/consoleFrom/0'
networkPolicy.databasePorts={70000}|at '/networkPolicy/databasePorts/0'
networkPolicy.apiServerPorts={https}|at '/networkPolicy/apiServerPorts/0'
metrics.podMonitor.interval=soon|at '/metrics/podMonitor/interval'
metrics.podMonitor.interval=0s|at '/metrics/podMonitor/interval'
metrics.podMonitor.enabled=true|monitoring.coreos.com
guards.allowedDatabaseHosts={*}|at '/guards/allowedDatabaseHosts/0'
guards.allowedDatabaseHosts={a b}|at '/guards/allowedDatabaseHosts/0'
guards.allowedBackendHosts={https://sentry.io}|at '/guards/allowedBackendHosts/0'
guards.allowedBackendHosts={sentry.io/api}|at '/guards/allowedBackendHosts/0'
guards.allowedKeyPrefixes={prometheus.io/scrape}|at '/guards/allowedKeyPrefixes/0'
guards.maxRollouts=0|at '/guards/maxRollouts'
guards.maxKeysPerNamespace=-1|at '/guards/maxKeysPerNamespace'
runnerBinding.enabled=yes|at '/runnerBinding/enabled'
runnerBinding.restart=true|additional properties 'restart' not allowed
VALUES
    while IFS='|' read -r value words; do
        check "chart: takes $value" renders "$value" "$words"
    done <<'VALUES'
image.repository=registry.example:5000/team/error_tracking|image: "registry.example:5000/team/error_tracking:0.1.0"
image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef|- --image=example/operator@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
image.tag=v2,image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef|image: "example/operator:v2@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
operator.logLevel=error_tracking_operator=debug\,info|value: "error_tracking_operator=debug,info"
operator.extraArgs={--some-flag=a b}|- "--some-flag=a b"
operator.resources.requests.cpu=1.5|cpu: "1.5"
console.hosts={errors.internal}|- --host=errors.internal
console.ingress.enabled=true,console.ingress.host=errors.example.com,console.ingress.tls.terminatedElsewhere=true|- host: "errors.example.com"
operator.resources.limits.memory=1e9|memory: "1e9"
operator.resources.limits.hugepages-2Mi=4Mi|hugepages-2Mi: 4Mi
postgresql.image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef|image: "docker.io/library/postgres:17@sha256:0123
postgresql.storage.size=0.5Ti|storage: 0.5Ti
VALUES
}

chart_tests() {
    check "the chart lints" helm lint --strict --set image.repository=example/operator charts/error-tracking-operator
    local behaviour
    for behaviour in \
        brings_its_own_postgres_by_default \
        an_existing_database_leaves_the_evaluation_postgres_out \
        says_what_to_do_without_a_database \
        says_what_to_do_without_an_image \
        keeps_the_custom_resource_definitions_on_uninstall \
        leaves_the_custom_resource_definitions_out_when_asked \
        gives_the_operator_no_wildcard_right \
        takes_the_finalizers_off_before_an_uninstallation \
        leaves_the_finalizers_on_when_asked \
        lets_a_project_ask_only_for_what_its_author_may_do \
        lets_a_runner_binding_ask_only_for_what_its_author_may_do \
        lets_the_operator_change_only_what_it_made \
        gives_rights_over_runners_only_when_asked \
        hands_the_guards_to_the_operator \
        makes_roles_for_some_namespaces_and_no_cluster_role_but_the_consoles \
        asks_everybody_to_sign_in_to_the_console \
        answers_to_the_names_of_its_ingress_and_route_and_no_others \
        names_the_pages_of_a_project_in_its_status \
        leads_an_ingress_with_tls_to_the_console \
        leads_a_route_of_a_gateway_to_the_console \
        sends_people_to_their_identity_provider_when_asked \
        guards_a_console_of_several_pods_from_a_drain \
        lets_everybody_reach_the_console_unless_peers_are_named \
        lets_databases_that_projects_may_name_be_reached \
        lets_the_console_ask_for_reviews_and_nothing_else \
        shows_events_to_those_who_may_edit_and_errors_to_those_who_may_view \
        lets_controllers_of_service_binding_read_keys_unless_told_not_to \
        hands_registry_and_user_on_to_ingest_pods \
        monitors_only_where_the_prometheus_operator_is \
        leaves_the_user_ids_to_the_platform_when_asked \
        ships_a_dashboard_that_a_sidecar_finds_when_asked \
        leaves_the_alert_on_size_out_when_asked \
        puts_common_labels_on_every_object_and_in_no_selector \
        runs_as_the_service_accounts_that_are_named \
        spreads_the_operators_own_pods_unless_a_constraint_selects_others; do
        check "chart: ${behaviour//_/ }" "$behaviour"
    done
    odd_values
}

# runner_example_tests EXAMPLE NAMESPACE: what its kustomization leaves out. The GitLab Runner Operator is not there, its definition is.
runner_example_tests() {
    check "$1/config.yaml is accepted by the API server" kubectl --namespace "$2" create --dry-run=server -f "$1/config.yaml"
    kubectl apply -f tests/runner/crd.yaml >/dev/null
    kubectl wait --for=condition=Established crd/runners.apps.gitlab.com --timeout=30s >/dev/null
    check "$1/runner-operator.yaml is accepted by the API server" \
        kubectl --namespace "$2" apply --server-side --dry-run=server -f "$1/runner-operator.yaml"
    kubectl delete -f tests/runner/crd.yaml >/dev/null
}

# The examples against the API server's schemas and rules, with the chart installed.
example_tests() {
    local example namespaces namespace
    for example in examples/*/kustomization.yaml; do
        example=${example%/kustomization.yaml}
        # A dry run makes no namespace for the rest to be in.
        namespaces=$(kubectl kustomize "$example" | sed -n 's/^  namespace: //p' | sort -u)
        for namespace in $namespaces; do kubectl create namespace "$namespace" >/dev/null; done
        check "$example is accepted by the API server" kubectl apply --server-side --dry-run=server -k "$example"
        [ "$example" != examples/gitlab-runner ] || runner_example_tests "$example" "$namespaces"
        for namespace in $namespaces; do kubectl delete namespace "$namespace" >/dev/null; done
    done
}
