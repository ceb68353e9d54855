#!/usr/bin/env bash
# demo-down.sh: ends the port-forward, takes the example and the chart out as a user would, and ends the cluster demo.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

say "ending the console's port-forward"
hack/console-forward.sh stop

if environment=$(cluster env --name demo 2>/dev/null); then
    eval "$environment"
    if kubectl get --raw /readyz --request-timeout=5s >/dev/null 2>&1; then
        say "removing the example and the release"
        kubectl delete -k examples/shop --ignore-not-found --timeout=60s || say "the example did not go in 60 s; ending the cluster anyway"
        helm uninstall error-tracking --namespace error-tracking --ignore-not-found --wait --timeout=60s || say "the release did not go; ending the cluster anyway"
    fi
fi
say "ending the cluster"
cluster down --name demo
say "the demo is gone"
