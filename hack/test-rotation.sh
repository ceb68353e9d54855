#!/usr/bin/env bash
# test-rotation.sh: a key is rotated while real SDKs send from pods, which the operator restarts, in a local cluster of its own that
# this script starts and ends (root). The last line is "rotation: N sent, F refused, L lost, old key retired after S s".
# ROTATION_RATE is the events a second (500); ROTATION_CLUSTER names another cluster than "rotation"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

log=$logs/rotation.log
hack/prerequisites.sh build cluster
hack/images.sh dev
cargo test --locked --quiet --no-run --test operator
in_own_cluster "${ROTATION_CLUSTER:-rotation}" "$log" 'rotation: '
hack/install.sh "$ERROR_TRACKING_CLUSTER"
helm upgrade error-tracking charts/error-tracking-operator --namespace error-tracking --reuse-values \
    --set restartWorkloads.enabled=true >>"$logs/helm.log"
kubectl --namespace error-tracking rollout status deployment/error-tracking-operator --timeout=300s >>"$logs/rollout.log"
cargo test --locked --quiet --test operator -- --exact --ignored --nocapture rotation::a_rotation_with_restarts_loses_nothing \
    2>&1 | tee "$log"
