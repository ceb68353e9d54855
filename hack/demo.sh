#!/usr/bin/env bash
# demo.sh: everything from an empty machine to an error in the console, in a local cluster named demo. Safe to repeat;
# demo-down.sh ends it. Needs root, for the node.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

# shellcheck disable=SC2317 # called by the trap
finish() {
    local code=$?
    end_beside
    [ "$code" != 0 ] || return 0
    if [ -n "${KUBECONFIG-}" ]; then
        hack/describe.sh >"$logs/demo-describe.log" 2>&1 || true
        tail -n 60 "$logs/demo-describe.log" >&2
        say "the demo failed; more in $logs/demo-describe.log; its cluster stays for a look: eval \"\$(hack/cluster.sh env --name demo)\"" >&2
    else
        say "the demo failed" >&2
    fi
}
trap finish EXIT
trap 'exit 130' INT TERM

[ "$(id -u)" = 0 ] || fail "a Kubernetes node needs root: sudo -E make demo"

hack/prerequisites.sh build cluster
say "building Kubernetes and the operator side by side (cold, 2 cores: about 25 minutes; warm: seconds)"
beside kubernetes hack/cluster.sh build
beside images hack/images.sh dev
await images "the operator and the images"
await kubernetes "Kubernetes, CoreDNS and helm"

say "starting the cluster"
cluster up --name demo
environment=$(cluster env --name demo)
eval "$environment"

hack/install.sh demo

say "kubectl apply -k examples/shop"
applied=$EPOCHREALTIME
kubectl apply -k examples/shop
kubectl --namespace shop wait --for=condition=Ready errortrackingproject/shop --timeout=180s >/dev/null
project_ready=$(seconds_since "$applied")
say "the project is ready after $project_ready s"
kubectl --namespace shop wait --for=condition=Ready clientkey/shop --timeout=60s >/dev/null
say "the key is ready after $(seconds_since "$applied") s; SENTRY_DSN is in the Secret shop-dsn"
kubectl --namespace shop get errortrackingprojects,clientkeys
say "waiting for the shop, which takes SENTRY_DSN from that Secret"
kubectl --namespace shop rollout status deployment/shop --timeout=180s >/dev/null

say "letting the ServiceAccount developer see the shop's errors in the console"
kubectl apply -f - <<'DEVELOPER' >/dev/null
apiVersion: v1
kind: ServiceAccount
metadata: {name: developer, namespace: shop}
automountServiceAccountToken: false
---
# `edit` includes `view`.
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: developer, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}
subjects: [{kind: ServiceAccount, name: developer, namespace: shop}]
DEVELOPER
may_see_errors() {
    kubectl auth can-i get errortrackingprojects.errortracking.dev/shop --subresource=issues --namespace shop \
        --as=system:serviceaccount:shop:developer --quiet
}
# The API server adds the chart's rights to `edit` a moment after the installation. A refusal would be remembered by the console.
for _ in $(seq 100); do
    may_see_errors && break
    sleep 0.2
done
may_see_errors || fail "the ServiceAccount developer may not see the errors of the shop"
new_token=(kubectl --namespace shop create token developer --audience=errortracking)
token=$("${new_token[@]}" --duration=1h)

console=$(hack/console-forward.sh start)
list=${console}shop/shop/issues
# fetch URL: as developer. The token goes through a pipe, so that no list of processes shows it.
fetch() {
    curl --silent --show-error --fail --noproxy '*' --max-time 5 \
        --config <(printf 'header = "Authorization: Bearer %s"\n' "$token") "$@"
}
for _ in $(seq 100); do
    fetch "$list" >/dev/null 2>&1 && break
    sleep 0.2
done
fetch "$list" >/dev/null || fail "the console does not answer at $list"

# How often the error of an empty cart is in the list: 0 before the first demo.
events_listed() { fetch "$list" | tr -d '\n' | grep -oP 'ZeroDivisionError[^<]*</a>.*?data-label="Events">\s*\K[0-9]+' | head -n 1 || true; }
# checkout QUERY: through the API server, as kubectl can from anywhere.
checkout() { kubectl get --raw "/api/v1/namespaces/shop/services/shop:http/proxy/checkout$1" >"$logs/checkout.log" 2>&1; }

before=$(events_listed)
say "making the shop fail: an empty cart"
began=$EPOCHREALTIME
! checkout "?customer=1" || fail "the shop did not fail: $(cat "$logs/checkout.log")"
deadline=$((SECONDS + 60))
until now=$(events_listed) && [ "${now:-0}" -gt "${before:-0}" ]; do
    [ "$SECONDS" -lt "$deadline" ] || fail "the error is not listed at $list after 60 s"
    sleep 0.05
done
event_listed=$(seconds_since "$began")
say "the error is listed after $event_listed s"
# Something to look at: a second error, and other customers.
for customer in 2 3 4; do checkout "?customer=$customer" || true; done
for customer in 3 5; do checkout "?customer=$customer&article=apple&article=plum" || true; done

cat <<NEXT

Go on with
  eval "\$(hack/cluster.sh env --name demo)"                       # kubectl and helm for this cluster
  kubectl get etp,etk --all-namespaces
  kubectl --namespace shop describe etp shop
  kubectl --namespace shop get secret shop-dsn --output yaml
  kubectl explain etp.spec.backend
  kubectl get --raw '/api/v1/namespaces/shop/services/shop:http/proxy/checkout?article=plum'   # fail in another way
  kubectl --namespace error-tracking logs deployment/error-tracking-operator
The list of errors: $list
The console asks you to sign in. This prints a token to paste:
  ${new_token[*]} --duration=8h
make demo-down ends the demo.

NEXT
echo "demo: project ready in $project_ready s, event listed after $event_listed s, console $console"
