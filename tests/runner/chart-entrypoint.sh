#!/bin/sh
# chart-entrypoint.sh PROGRAM [OPTION…]: starts a double in the order in which GitLab's chart starts a runner. The mounted config.toml
# (CONFIG_COPY_FROM) is copied to a folder of the pod's own, which `register` writes to, and the copy is what the runner reads: what
# becomes of the ConfigMap afterwards is seen by the next pod. Wording and code are ours, the order is the chart's.
set -eu

program=$1
shift
config=${CONFIG_FILE:-${HOME:-/home/gitlab-runner}/.gitlab-runner/config.toml}

mkdir -p "$(dirname "$config")"
cp "${CONFIG_COPY_FROM:-/configmaps/config.toml}" "$config"
chmod u+w "$config"
"$program" register --config "$config"
# The chart's preEntrypointScript.
if [ -n "${PRE_ENTRYPOINT_SCRIPT-}" ]; then
    sh "$PRE_ENTRYPOINT_SCRIPT"
fi
# The same process, so that signals reach it.
exec "$program" run --config "$config" "$@"
