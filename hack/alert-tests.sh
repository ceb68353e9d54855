#!/usr/bin/env bash
# alert-tests.sh: what the chart's alerts and its dashboard say, in Prometheus' own words (promtool): every expression can be read, every
# alert of tests/alerts fires when it must and stays silent when it must not, and every metric is one that docs/metrics.md explains and
# the program serves. promtool is built once from tests/alerts/go.mod. The last line is "alerts: N rules, M tests, F failed".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

command -v go >/dev/null || fail "alerts: go is not installed"
trap end_beside EXIT
chart=charts/error-tracking-operator
made=$target/alerts
mkdir -p "$made"
failed=0
failure() {
    failed=$((failed + 1))
    echo "$*" >&2
}

# built NAME MODULE PACKAGE: where the program is that this folder's go.mod builds, once for each content of its module files.
built() {
    local path
    path=$cache/alerts/$1-$(cat "$2/go.mod" "$2/go.sum" <(go env GOVERSION GOARCH) | sha256sum | cut -c 1-12)/$1
    if [ ! -x "$path" ]; then
        mkdir -p "${path%/*}"
        # Service discovery is most of promtool and no part of an alert. -p 1: this may run beside other builds.
        beside "$1" env -C "$2" CGO_ENABLED=0 GOFLAGS= go build -p 1 -tags remove_all_sd -trimpath -buildvcs=false \
            -ldflags "-s -w" -o "$path.part" "$3"
        await "$1" "$1 (cold, 2 cores: about 3 minutes)" >&2
        mv "$path.part" "$path"
    fi
    echo "$path"
}

promtool=$(built promtool tests/alerts github.com/prometheus/prometheus/cmd/promtool)
helm=$(helm_program)
[ -n "$helm" ] || helm=$(built helm tests/cluster/helm helm.sh/helm/v3/cmd/helm)

# A PrometheusRule's spec is a file of rules.
"$helm" template error-tracking "$chart" --namespace error-tracking --kube-version 1.37.0 --api-versions monitoring.coreos.com/v1 \
    --set image.repository=example/operator,metrics.prometheusRule.enabled=true --show-only templates/metrics/prometheusrule.yaml \
    | awk 'inside { sub(/^  /, ""); print } /^spec:/ { inside = 1 }' >"$made/rules-as-installed.yaml"
python3 tests/alerts/dashboard.py "$chart"/files/dashboards/*.json >"$made/dashboard.yaml"
"$promtool" check rules --lint=all --lint-fatal "$made/rules-as-installed.yaml" || failure "a rule cannot be read"
"$promtool" check rules --lint=none "$made/dashboard.yaml" || failure "an expression of the dashboard cannot be read"

# promtool compares whole annotations: the tests hold the summary, which has the labels in it.
sed '/^ *description:/d' "$made/rules-as-installed.yaml" >"$made/rules.yaml"
cp tests/alerts/*.yaml "$made/"
tests=$(cat tests/alerts/*.yaml | grep -c 'alertname:')
for file in tests/alerts/*.yaml; do
    "$promtool" test rules "$made/${file##*/}" >"$made/test.log" 2>&1 && continue
    cat "$made/test.log" >&2
    wrong=$(grep -c 'alertname: ' "$made/test.log" || true)
    failed=$((failed + (wrong > 0 ? wrong : 1)))
done

alerts=$(sed -n 's/^ *- alert: //p' "$made/rules.yaml")
for alert in $alerts; do
    grep -qF "alertname: $alert, exp_alerts: []" tests/alerts/*.yaml || failure "no test says when $alert stays silent"
    grep -qF "alertname: $alert, exp_alerts: [{" tests/alerts/*.yaml || failure "no test says when $alert fires"
done

# served METRIC: the program names it; the operator's names lack their prefix there, the process' come with the client library.
served() { [[ $1 == process_* ]] || grep -rqE "\"(errortracking_operator_)?${1#errortracking_operator_}\"" --include='*.rs' src; }

while read -r metric; do
    grep -qF "| \`$metric\` |" docs/metrics.md || failure "docs/metrics.md does not explain $metric"
done < <(grep -ohE '\b(errortracking|process)_[a-z_]+' "$made/rules.yaml" "$made/dashboard.yaml" | sed -E 's/_(bucket|sum|count)$//' | sort -u)
awaited=0
while IFS='|' read -r _ metric _ _ meaning _; do
    metric=${metric//[\` ]/}
    if [[ $meaning == *"Not served yet."* ]]; then
        awaited=$((awaited + 1))
        ! served "$metric" || failure "$metric is served: docs/metrics.md says that it is not"
    else
        served "$metric" || failure "$metric of docs/metrics.md is served by nobody"
    fi
done < <(grep -E '^\| `(errortracking|process)_' docs/metrics.md)
[ "$awaited" = 0 ] || echo "$awaited metrics of docs/metrics.md are not served yet: what depends on them is silent"

echo "alerts: $(wc -w <<<"$alerts") rules, $tests tests, $failed failed"
[ "$failed" = 0 ]
