#!/usr/bin/env bash
# describe.sh: what a person would look at first when something in the cluster of KUBECONFIG did not work.
set -uo pipefail

show() {
    printf '\n--- %s\n' "$*"
    "$@" 2>&1 | tail -n 60
}

show kubectl get nodes,pods --all-namespaces --output wide
show kubectl get errortrackingprojects,clientkeys,runnerbindings --all-namespaces
show kubectl get errortrackingprojects,clientkeys,runnerbindings --all-namespaces --output 'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\n"}{range .status.conditions[*]}  {.type}={.status} {.reason}: {.message}{"\n"}{end}{end}'
show kubectl get events --all-namespaces --sort-by=.lastTimestamp
kubectl get pods --all-namespaces --output 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' 2>/dev/null \
    | while read -r namespace pod; do
        show kubectl --namespace "$namespace" logs "$pod" --all-containers --tail=25 </dev/null
        show kubectl --namespace "$namespace" logs "$pod" --all-containers --previous --tail=15 </dev/null
    done
