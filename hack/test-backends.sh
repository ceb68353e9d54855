#!/usr/bin/env bash
# test-backends.sh: keys in Sentry and GitLab, with doubles of both and every fault that such servers have, in a local cluster of its own
# that this script starts and ends (root). The last line is "backends: C cases, F failed, S keys stolen, O orphans named".
# BACKENDS=sentry runs the tests of that name; BACKENDS_CLUSTER names another cluster than "backends"; KEEP_CLUSTER=1 leaves it up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

log=$logs/test-backends.log
process_tests_in "${BACKENDS_CLUSTER:-backends}" "$log" 'backends: '
say "keys in Sentry and GitLab (about 10 minutes on 2 cores)"
BACKENDS_WHOLE=1 cargo test --locked --quiet --test process -- --test-threads=1 --include-ignored --nocapture "backends::${BACKENDS:-}" 2>&1 | tee "$log"
