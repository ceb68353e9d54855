#!/usr/bin/env bash
# test-hostile.sh: what one tenant does to hurt the others, in a local cluster of its own that this script starts and ends
# (root), with the chart's limits and rights. The last line is "hostile: A attacks, H held, others waited at most S s".
# HOSTILE_ATTACKS is a word of the names of those that are made; HOSTILE_OBJECTS is the most of each kind of large objects, for
# a short run; HOSTILE_CLUSTER names another cluster than "hostile"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

test_installed "${HOSTILE_CLUSTER:-hostile}" "$logs/hostile.log" 'hostile: ' hostile::no_tenant_hurts_another
