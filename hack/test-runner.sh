#!/usr/bin/env bash
# test-runner.sh: doubles of GitLab Runner report their own failures by RunnerBindings while their keys are rotated, in a local cluster
# of its own that this script starts and ends (root). Every way for each generation, runners with jobs, and what bindings say that
# cannot do what they are asked for. The last line is "runners: C of C combinations, N sent, F refused, J jobs cut".
# RUNNER_CLUSTER names another cluster than "runner"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh cluster runner
hack/images.sh runner
MORE_IMAGES=$target/images/runner.tar test_installed "${RUNNER_CLUSTER:-runner}" "$logs/runner.log" 'runners: ' \
    runners::every_runner_goes_on_reporting_across_a_rotation \
    runnerBinding.enabled=true operator.logLevel=error_tracking_operator=debug
