#!/usr/bin/env bash
# test-rotation.sh: a key is rotated while real SDKs send from pods, which the operator restarts, in a local cluster of its own that
# this script starts and ends (root). The last line is "rotation: N sent, F refused, L lost, old key retired after S s".
# ROTATION_RATE is the events a second (500); ROTATION_CLUSTER names another cluster than "rotation"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

test_installed "${ROTATION_CLUSTER:-rotation}" "$logs/rotation.log" 'rotation: ' \
    rotation::a_rotation_with_restarts_loses_nothing restartWorkloads.enabled=true
