#!/usr/bin/env bash
# test-network-policies.sh: the links that the NetworkPolicies of chart and operator leave open, in a local cluster of its own that
# enforces them, and that this script starts and ends (root). The last line is "network policies: H of L links as they must be".
# POLICIES_CLUSTER names another cluster than "policies"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

export CLUSTER_OPTIONS=--network-policies
test_installed "${POLICIES_CLUSTER:-policies}" "$logs/network-policies.log" 'network policies: ' \
    network_policies::only_the_links_that_are_needed_are_open
