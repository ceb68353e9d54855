# shellcheck shell=bash disable=SC2317,SC2154 # functions called by name; variables of test.sh and steps.sh
# Sourced by test.sh, which has `check`, `passed`, `failed`, `notes` and `skipped`: what an installation lives through. The cluster
# stage begins with the chart of the version before and upgrades it, so that all its other tests run in an upgraded installation; at
# its end the release is uninstalled and installed again.

# The last commit of the version before: its chart and its program are what is upgraded.
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

# Sends until the file $sending is gone or the sender is, and writes how many events were sent and acknowledged.
keep_sending() {
    local sent=0 acknowledged=0 some
    while [ -e "$sending" ]; do
        some=$(send stream 40) || break
        sent=$((sent + 40)) acknowledged=$((acknowledged + some))
        sleep 0.5
    done
    echo "$sent $acknowledged" >"$sending.result"
}

# Before `images.sh dev`, which puts the program of this tree back in its place.
previous_images() {
    if ! git cat-file -e "$previous_commit^{commit}" 2>/dev/null; then
        skipped=$((skipped + 1))
        notes+=("the upgrade is left out: commit $previous_commit of the version before is not in this clone")
        return
    fi
    say "the program of the version before, to upgrade from"
    check "the version before is built" hack/images.sh previous "$previous_commit"
}

# The version before, with a project in use.
install_previous() {
    local previous=$target/previous
    [ -s "$previous/commit" ] || return 0
    check "the version before installs" hack/install.sh "$name" "$previous/source/charts/error-tracking-operator" "$previous"
    check "a project and a key of the version before" project_and_key "$elder"
    check "somebody sends to it" start_sender
    elder_dsn=$(field secret/shop-dsn .data.SENTRY_DSN)
    elder_id=$(field etp/shop .status.projectID)
    elder_postgres=$(pods error-tracking app.kubernetes.io/name=error-tracking-postgresql)
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

postgres_is_the_same() { diff <(echo "$elder_postgres") <(pods error-tracking app.kubernetes.io/name=error-tracking-postgresql); }

ingest_is_of_this_version() {
    local image
    image=$(cat "$target/images/operator.name")
    kubectl --namespace "$elder" wait --for="jsonpath={.spec.template.spec.containers[0].image}=$image" deployment/shop-ingest --timeout=60s \
        && kubectl --namespace "$elder" rollout status deployment/shop-ingest --timeout=120s
}

every_event_is_kept() {
    local sent acknowledged
    read -r sent acknowledged <"$sending.result"
    echo "sent: $sent, acknowledged: $acknowledged, kept: $(kept_events "$elder_id")"
    [ "$sent" -gt 0 ] && [ "$acknowledged" = "$sent" ] && [ "$(kept_events "$elder_id")" = "$sent" ]
}

# After install_previous and the upgrade.
upgrade_tests() {
    [ -n "${elder_id-}" ] || return 0
    check "upgrade: ingest is rolled to this version" ingest_is_of_this_version
    rm -f "$sending"
    wait "$sender_pid" || true
    check "upgrade: project and key are Ready, with the same number and DSN" is_ready_as_before
    check "upgrade: Postgres went on" postgres_is_the_same
    check "upgrade: every event sent meanwhile is kept" every_event_is_kept
    say "$(cut -d ' ' -f 1 "$sending.result") events were sent during the upgrade"
}

uninstalls() { helm uninstall error-tracking --namespace error-tracking --wait --timeout=180s; }

leaves_no_finalizer() {
    local held
    held=$(kubectl get etp,etk,etr --all-namespaces --output 'jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {.metadata.finalizers}{"\n"}{end}')
    echo "$held"
    ! grep -q errortracking.dev <<<"$held"
}

leaves_nothing_of_its_own() {
    local left=
    # helm waits for the Deployments; their pods may take a moment longer to end.
    for _ in {1..30}; do
        left=$(kubectl get clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings --output name | grep error-tracking || true
            kubectl --namespace error-tracking get jobs,pods,serviceaccounts,roles,rolebindings,networkpolicies,deployments,statefulsets --output name | grep error-tracking || true)
        [ -n "$left" ] || return 0
        sleep 2
    done
    echo "$left"
    return 1
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
    check "uninstall: no project, key or binding has our finalizer" leaves_no_finalizer
    check "uninstall: nothing of the release is left but its volume and password" leaves_nothing_of_its_own
    check "uninstall: a namespace with a project and a key goes" kubectl delete namespace leaver --timeout=90s
    check "reinstall: the chart installs and takes the objects up" installs_again
    check "reinstall: same number, same DSN, every event kept" everything_is_found_again
    check "reinstall: no ingest pod was replaced" ingest_pods_are_the_same
    check "reinstall: events are received with the same key" receives_again
    kubectl delete namespace "$elder" --timeout=120s >/dev/null
}
