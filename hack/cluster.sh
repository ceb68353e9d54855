#!/usr/bin/env bash
# cluster.sh up|down|status|env|load|logs|signal|build [--name NAME] …: the local Kubernetes; go run says more.
set -euo pipefail
cd "$(dirname "$0")/../tests/cluster"
export GOTOOLCHAIN=local
exec go run ./cmd/cluster "$@"
