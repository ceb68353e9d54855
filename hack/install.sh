#!/usr/bin/env bash
# install.sh CLUSTER [CHART IMAGES]: loads the dev images into a local cluster and installs or upgrades the chart there, as release
# error-tracking in namespace error-tracking. Chart and operator are those of this tree if nothing is said. Needs KUBECONFIG and PATH
# of `cluster.sh env`, and the images of `images.sh dev`. CHART_SETTINGS are further values, as helm's --set takes them.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

name=${1:?usage: install.sh CLUSTER [CHART IMAGES]}
chart=${2:-charts/error-tracking-operator}
images=${3:-$target/images}
image=$(cat "$images/operator.name")

say "loading the images into cluster $name"
cluster load --name "$name" "$images/operator.tar" "$target/images/test.tar"

# The strictest Pod Security Standard is enforced, so that the chart is held to it.
kubectl apply -f - <<'NAMESPACE' >/dev/null
apiVersion: v1
kind: Namespace
metadata:
  name: error-tracking
  labels: {pod-security.kubernetes.io/enforce: restricted}
NAMESPACE

say "helm upgrade --install error-tracking $chart"
# --take-ownership: the CRDs of an earlier release are still there.
helm upgrade --install error-tracking "$chart" --namespace error-tracking --take-ownership \
    --set "image.repository=${image%:*},image.tag=${image##*:},image.pullPolicy=Never" \
    --set postgresql.image.repository=localhost/error-tracking-test,postgresql.image.tag=dev,postgresql.image.pullPolicy=Never \
    --set "${CHART_SETTINGS-}" \
    >"$logs/helm.log" || { cat "$logs/helm.log" >&2; exit 1; }

for workload in statefulset/error-tracking-postgresql deployment/error-tracking-operator deployment/error-tracking-console; do
    say "waiting for $workload"
    kubectl --namespace error-tracking rollout status "$workload" --timeout=300s >"$logs/rollout.log" || { cat "$logs/rollout.log" >&2; exit 1; }
done
say "the operator, its Postgres and the console are ready"
