# shellcheck shell=bash disable=SC2317,SC2154 # functions called by name; variables of test.sh and steps.sh
# Sourced by test.sh, which has `check`, `passed`, `failed`, `notes` and `skipped`: what an installation lives through. The cluster
# stage begins with the chart of the version before and upgrades it, so that all its other tests run in an upgraded installation; at
# its end the release is uninstalled and installed again.

# The last commit of the version before. Its chart runs with the program of this tree.
previous_commit=933445d
# A project, a key and somebody who sends, older than this version.
elder=elder
sending=$target/logs/sending

# field OBJECT JSONPATH: of an object in the namespace of the elder project; empty when it is not there.
field() { kubectl --namespace "$elder" get "$1" --output "jsonpath={$2}" 2>/dev/null; }

# pods NAMESPACE: name and uid of each, so that a replaced one shows.
pods() { kubectl --namespace "$1" get pods --selector "$2" --output 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}' | sort; }

# kept_events ID: stored for a project.
kept_events() {
    kubectl --namespace error-tracking exec error-tracking-postgresql-0 -- psql -U postgres -d errortracking -Atc "SELECT count(*) FROM project_$1.events"
}

# project_and_key NAMESPACE: made there, under the strictest Pod Security Standard.
project_and_key() {
    kubectl apply -f - <<MANIFESTS
apiVersion: v1
kind: Namespace
metadata:
  name: $1
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: errortracking.dev/v1alpha1
kind: ErrorTrackingProject
metadata: {name: shop, namespace: $1}
spec: {backend: {integrated: {ingest: {replicas: 1}}}}
---
apiVersion: errortracking.dev/v1alpha1
kind: ClientKey
metadata: {name: shop, namespace: $1}
spec: {projectRef: {name: shop}}
MANIFESTS
    kubectl --namespace "$1" wait --for=condition=Ready etp/shop etk/shop --timeout=120s
}

start_sender() {
    kubectl --namespace "$elder" create configmap sender --from-file=tests/operator/sender.py
    kubectl --namespace "$elder" apply -f - <<'POD'
apiVersion: v1
kind: Pod
metadata: {name: sender}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: sender
      image: localhost/error-tracking-test:dev
      imagePullPolicy: Never
      command: [sleep, infinity]
      envFrom: [{secretRef: {name: shop-dsn}}]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: sender, mountPath: /sender}, {name: results, mountPath: /results}]
  volumes: [{name: sender, configMap: {name: sender}}, {name: results, emptyDir: {}}]
POD
    kubectl --namespace "$elder" wait --for=condition=Ready pod/sender --timeout=60s
}

send() { kubectl --namespace "$elder" exec sender -- python3 /sender/sender.py "$@"; }

# Sends until the file $sending is gone or the sender is, and writes how many events were acknowledged.
keep_sending() {
    local sum=0 acknowledged
    while [ -e "$sending" ]; do
        acknowledged=$(send stream 40) || break
        sum=$((sum + acknowledged))
        sleep 0.5
    done
    echo "$sum" >"$sending.acknowledged"
}

# install_previous: the chart of the version before, with a project in use. Fails without a word of harm where the history is not there.
install_previous() {
    local chart
    if ! git cat-file -e "$previous_commit^{commit}" 2>/dev/null; then
        skipped=$((skipped + 1))
        notes+=("the upgrade is left out: commit $previous_commit of the version before is not in this clone")
        return
    fi
    chart=$target/previous
    rm -rf "$chart"
    mkdir -p "$chart"
    git archive "$previous_commit" charts/error-tracking-operator | tar -x -C "$chart"
    # The rights that this tree's program needs: it watches kinds that the version before did not know.
    cp charts/error-tracking-operator/templates/operator/rbac.yaml "$chart/charts/error-tracking-operator/templates/operator/rbac.yaml"
    check "the chart of the version before installs" hack/install.sh "$name" "$chart/charts/error-tracking-operator"
    check "a project and a key of the version before" project_and_key "$elder"
    check "somebody sends to it" start_sender
    elder_dsn=$(field secret/shop-dsn .data.SENTRY_DSN)
    elder_id=$(field etp/shop .status.projectID)
    elder_ingest=$(pods "$elder" errortracking.dev/project=shop)
    elder_others=$(pods error-tracking 'app.kubernetes.io/name in (error-tracking-console, error-tracking-postgresql)')
    touch "$sending"
    keep_sending &
    sender_pid=$!
}

is_ready_as_before() {
    kubectl --namespace "$elder" wait --for=condition=Ready etp/shop etk/shop --timeout=120s \
        && [ -n "$elder_dsn" ] && [ "$(field secret/shop-dsn .data.SENTRY_DSN)" = "$elder_dsn" ] \
        && [ "$(field etp/shop .status.projectID)" = "$elder_id" ]
}

ingest_pods_are_the_same() { diff <(echo "$elder_ingest") <(pods "$elder" errortracking.dev/project=shop); }

other_pods_are_the_same() {
    diff <(echo "$elder_others") <(pods error-tracking 'app.kubernetes.io/name in (error-tracking-console, error-tracking-postgresql)')
}

every_acknowledged_event_is_kept() {
    local acknowledged
    acknowledged=$(cat "$sending.acknowledged")
    echo "acknowledged: $acknowledged, kept: $(kept_events "$elder_id")"
    [ "$acknowledged" -gt 0 ] && [ "$(kept_events "$elder_id")" = "$acknowledged" ]
}

# After install_previous and the upgrade.
upgrade_tests() {
    [ -n "${elder_id-}" ] || return 0
    rm -f "$sending"
    wait "$sender_pid" || true
    check "upgrade: project and key are Ready, with the same number and DSN" is_ready_as_before
    check "upgrade: no ingest pod was replaced" ingest_pods_are_the_same
    check "upgrade: Postgres and the console went on" other_pods_are_the_same
    check "upgrade: every event acknowledged meanwhile is kept" every_acknowledged_event_is_kept
    say "$(cat "$sending.acknowledged") events were acknowledged during the upgrade"
}

uninstalls() { helm uninstall error-tracking --namespace error-tracking --wait --timeout=180s; }

leaves_no_finalizer() {
    local held
    held=$(kubectl get etp,etk --all-namespaces --output 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.metadata.finalizers}{"\n"}{end}')
    echo "$held"
    ! grep -q errortracking.dev <<<"$held"
}

leaves_nothing_of_its_own() {
    local left
    left=$(kubectl get clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings --output name | grep error-tracking || true
        kubectl --namespace error-tracking get jobs,pods,serviceaccounts,roles,rolebindings,networkpolicies,deployments,statefulsets --output name | grep error-tracking || true)
    echo "$left"
    [ -z "$left" ]
}

installs_again() {
    hack/install.sh "$name" || return 1
    # Not Ready, which the objects said all the time: seen by the new operator.
    kubectl --namespace "$elder" wait --for='jsonpath={.metadata.finalizers[0]}' etp/shop etk/shop --timeout=120s
}

receives_again() {
    local status
    for _ in $(seq 60); do
        status=$(send once)
        [ "$status" != 200 ] || return 0
        sleep 1
    done
    echo "$status"
    return 1
}

everything_is_found_again() {
    is_ready_as_before && [ "$(kept_events "$elder_id")" = "$elder_events" ]
}

# The end of the stage: takes the release away and installs it again.
uninstall_tests() {
    if [ -z "${elder_id-}" ]; then
        check "a project and a key" project_and_key "$elder"
        check "somebody sends to it" start_sender
        elder_dsn=$(field secret/shop-dsn .data.SENTRY_DSN)
        elder_id=$(field etp/shop .status.projectID)
    fi
    check "a second project and key" project_and_key leaver
    elder_events=$(kept_events "$elder_id")
    elder_ingest=$(pods "$elder" errortracking.dev/project=shop)
    check "uninstall: helm uninstall with projects and keys in use" uninstalls
    check "uninstall: no project or key has our finalizer" leaves_no_finalizer
    check "uninstall: nothing of the release is left but its volume and password" leaves_nothing_of_its_own
    check "uninstall: a namespace with a project and a key goes" kubectl delete namespace leaver --timeout=90s
    check "reinstall: the chart installs and takes the objects up" installs_again
    check "reinstall: same number, same DSN, every event kept" everything_is_found_again
    check "reinstall: no ingest pod was replaced" ingest_pods_are_the_same
    check "reinstall: events are received with the same key" receives_again
    kubectl delete namespace "$elder" --timeout=120s >/dev/null
}
