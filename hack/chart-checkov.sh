#!/usr/bin/env bash
# chart-checkov.sh: what checkov says of the rendered chart. Each finding is mended or has its reason in tests/chart/checkov.txt.
# checkov is installed once, with pip, in a venv of its own.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

version=3.3.30
venv=$cache/checkov-$version
if [ ! -x "$venv/bin/checkov" ]; then
    say "installing checkov $version"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "checkov==$version"
fi
helm=$(helm_program)
[ -n "$helm" ] || fail "chart-checkov: helm is not there (make cluster-up builds it)"

made=$target/checkov
mkdir -p "$made"
digest=sha256:$(printf '0%.0s' {1..64})
# As somebody would who cares: images by digest. Everything that can be on is on.
"$helm" template error-tracking charts/error-tracking-operator --namespace error-tracking --kube-version 1.37.0 \
    --api-versions monitoring.coreos.com/v1 --api-versions gateway.networking.k8s.io/v1 \
    --set "image.repository=registry.example/operator,image.digest=$digest,postgresql.image.digest=$digest" \
    --set metrics.podMonitor.enabled=true,metrics.prometheusRule.enabled=true,metrics.grafanaDashboard.enabled=true \
    --set console.ingress.enabled=true,console.ingress.host=errors.example.com,console.ingress.tls.secretName=errors-tls \
    --set 'console.gateway.enabled=true,console.gateway.parentRefs[0].name=public,console.gateway.hostnames={errors.example.com}' \
    --set restartWorkloads.enabled=true,runnerBinding.enabled=true >"$made/rendered.yaml"
# It exits with 1 for findings; without any output the comparison below fails.
"$venv/bin/checkov" --file "$made/rendered.yaml" --framework kubernetes --output json --compact --quiet --skip-download \
    >"$made/found.json" 2>"$made/checkov.log" || true
python3 - "$made/found.json" >"$made/found.txt" <<'FOUND'
import json
import sys

results = json.load(open(sys.argv[1]))
if results["summary"]["parsing_errors"] or not results["summary"]["passed"]:
    sys.exit("checkov could not read the chart")
for check in results["results"]["failed_checks"]:
    kind, _, name = check["resource"].split(".", 2)
    print(check["check_id"], kind, name)
FOUND
passed=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["summary"]["passed"])' "$made/found.json")
if ! diff --unified=0 <(sed -n 's/^\(CKV[^|]*[^ |]\) *|.*/\1/p' tests/chart/checkov.txt | sort) <(sort "$made/found.txt"); then
    fail "chart-checkov: mend what is new (+), take out of tests/chart/checkov.txt what is found no more (-)"
fi
say "chart-checkov: $passed passed, $(wc -l <"$made/found.txt") stay for the reasons in tests/chart/checkov.txt"
