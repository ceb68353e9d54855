#!/usr/bin/env bash
# test-browser.sh: the console of the demo in a real browser (Debian's chromium, driven by Playwright, looked at by axe): sign-in,
# triage by keys, hostile events, two colour schemes, three widths, without JavaScript. In the demo's cluster, which this starts
# and ends (root). KEEP_CLUSTER=1 leaves it up. Screenshots are in target/browser. The last line sums up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

forward=
finish() {
    [ -z "$forward" ] || kill "$forward" 2>/dev/null || true
    [ "${KEEP_CLUSTER-}" = 1 ] || hack/demo-down.sh
}
trap finish EXIT

command -v chromium >/dev/null || { say "installing chromium"; apt-get install --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null; }
command -v npm >/dev/null || fail "Node and npm are needed: the browser is driven by playwright-core"
(cd tests/browser && npm ci --no-audit --no-fund --loglevel=error >&2)
hack/demo.sh
eval "$(hack/cluster.sh env --name demo)"

say "sending errors, one of them as hostile as can be"
kubectl --namespace shop port-forward service/shop-ingest :80 >"$logs/browser-forward.log" 2>&1 &
forward=$!
for _ in $(seq 100); do
    port=$(grep -oP '127\.0\.0\.1:\K[0-9]+' "$logs/browser-forward.log" | head -n 1 || true)
    [ -z "$port" ] || break
    sleep 0.1
done
dsn=$(kubectl --namespace shop get secret shop-dsn --output 'jsonpath={.data.SENTRY_DSN}' | base64 --decode)
SENTRY_DSN=$dsn INGEST=http://127.0.0.1:$port/ node tests/browser/send.mjs

say "making a project that the one who looks may not see"
kubectl apply -f - <<'HIDDEN' >/dev/null
apiVersion: v1
kind: Namespace
metadata: {name: other}
---
apiVersion: errortracking.dev/v1alpha1
kind: ErrorTrackingProject
metadata: {name: ledger, namespace: other}
spec: {backend: {integrated: {ingest: {replicas: 0}}}}
HIDDEN
kubectl --namespace other wait --for=condition=DatabaseReady errortrackingproject/ledger --timeout=60s >/dev/null

token=$(kubectl --namespace shop create token developer --audience=errortracking --duration=1h)
mkdir -p "$target/browser"
say "looking at the console; screenshots are in $target/browser"
status=0
BASE=$(hack/console-forward.sh start) TOKEN=$token SHOTS=$target/browser node tests/browser/console.mjs >"$logs/browser.log" || status=$?
# After what ends the cluster says: the summary is the last line.
finish
trap - EXIT
cat "$logs/browser.log"
exit "$status"
