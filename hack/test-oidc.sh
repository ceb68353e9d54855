#!/usr/bin/env bash
# test-oidc.sh: people sign in to the console at a real OpenID provider (npm's oidc-provider, on loopback), with PKCE and groups, against
# a real Postgres. The last line sums up.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

command -v npm >/dev/null || fail "Node and npm are needed: the provider is a package of theirs"
hack/prerequisites.sh build postgres
(cd tests/oidc && npm ci --no-audit --no-fund --loglevel=error >&2)
say "building the tests of the console"
cargo test --locked --quiet --no-run --test console
log=$logs/oidc.log
cargo test --locked --quiet --test console -- --exact --ignored --nocapture real_provider::people_sign_in_at_a_real_provider >"$log" 2>&1 \
    || { cat "$log" >&2; }
# What a program that died has not said is no result.
grep '^passed\|^FAILED' "$log" || true
grep '^oidc: ' "$log" | tail -n 1 | grep . || fail "the test did not come to its end: $log"
! grep -q '^FAILED' "$log"
