#!/usr/bin/env bash
# test-holders.sh: every way in which a pod can hold the key before the one that its Secret names, in a local cluster of its own that
# this script starts and ends (root): silent for long after a rotation, it still sends. The last line is
# "holders: H of W ways, S sent, R refused". HOLDERS_CLUSTER names another cluster than "holders"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

test_installed "${HOLDERS_CLUSTER:-holders}" "$logs/holders.log" 'holders: ' \
    holders::whatever_way_a_pod_holds_a_key_it_sends_with_it_after_the_rotation
