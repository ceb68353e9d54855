#!/usr/bin/env bash
# test-scrub.sh: plants secrets and harmless texts where SDKs put them, and compares what is stored with what Relay's published library
# makes of the same events (docs/scrubbing.md). The last line is "scrub: N secrets planted, L leaked, H harmless, D destroyed".
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

readonly relay_version=0.10.1

hack/prerequisites.sh build relay
log=$logs/scrub.log
cases=$target/scrub-cases.json
code=0
ERROR_TRACKING_SCRUB_CASES=$cases cargo test --locked --lib scrub::corpus_tests -- --nocapture >"$log" 2>&1 || code=$?
grep -E '^(leaked|destroyed|skipped): ' "$log" || true

venv=$target/sentry-relay-$relay_version
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import sentry_relay' 2>/dev/null; then
    say "making a virtual environment with sentry-relay $relay_version"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "sentry-relay==$relay_version"
fi
"$venv/bin/python" hack/scrub-relay.py "$cases" docs/scrubbing.md || code=1
grep -E '^scrub: ' "$log" || { tail -n 40 "$log"; code=1; }
exit "$code"
