#!/usr/bin/env bash
# sdk-matrix.sh: installs the SDKs that tests/sdk/rows.rs names, each in a folder of its own in the cache, lets each send to a
# running ingest server and shows what was stored. The last line is "sdks: N of M seen"; what could not be installed is a row
# that says so. Needs Rust, Go, Node, Python and a JDK with Maven; Ruby, Chromium and Postgres come from Debian.
# shellcheck disable=SC2317 # most functions are called by "row"
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

hack/prerequisites.sh build postgres sdks
sdks=$cache/sdk
rows=$sdks/rows
samples=$root/examples/sdk
rm -rf "$rows"
mkdir -p "$rows"

# row NAME COMMAND…: prepares one row of the matrix. The command installs and prints on its standard output the script that
# sends with SENTRY_DSN; when it fails, the end of what it said is the reason why the row is missing.
row() {
    local name=$1 folder=$rows/$1 log=$logs/sdk-$1.log code
    shift
    mkdir -p "$folder"
    say "installing $name"
    # Not as a condition: there errexit would not end the command at its first failure.
    set +e
    (set -e; "$@") >"$folder/run.new" 2>"$log"
    code=$?
    set -e
    if [ "$code" = 0 ]; then
        mv "$folder/run.new" "$folder/run"
    else
        rm -f "$folder/run.new"
        { grep -v '^[[:space:]]*$' "$log" || echo "no reason was given"; } | tail -n 1 >"$folder/missing"
        say "not installed: $name: $(<"$folder/missing")"
    fi
}

# python VERSION REQUIREMENTS
python() {
    local environment=$sdks/python-$1
    [ -x "$environment/bin/python" ] || python3 -m venv "$environment" >&2
    "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$2" >&2
    echo "exec '$environment/bin/python' -B '$samples/python/main.py'"
}

# node_modules NAME FOLDER: what the lock file of the folder names.
node_modules() {
    local folder=$sdks/$1
    mkdir -p "$folder"
    if ! cmp -s "$2/package-lock.json" "$folder/installed.json"; then
        cp "$2/package.json" "$2/package-lock.json" "$folder"
        (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >&2)
        cp "$2/package-lock.json" "$folder/installed.json"
    fi
}

# node VERSION FOLDER
node_sample() {
    node_modules "node-$1" "$2"
    echo "NODE_PATH='$sdks/node-$1/node_modules' exec node '$samples/node/main.js'"
}

# go_sample NAME FOLDER [MODFILE]
go_sample() {
    mkdir -p "$sdks/go"
    go -C "$2" build -o "$sdks/go/$1" ${3:+"-modfile=$3"} . >&2
    echo "exec '$sdks/go/$1'"
}

# java VERSION [MAVEN OPTION]
java_sample() {
    mvn --quiet --batch-mode --file "$samples/java/pom.xml" "${@:2}" \
        dependency:copy-dependencies "-DoutputDirectory=$sdks/java-$1" >&2
    echo "exec java -cp '$sdks/java-$1/*' '$samples/java/Main.java'"
}

# rust VERSION FOLDER
rust_sample() {
    nice cargo build --locked --manifest-path "$2/Cargo.toml" --target-dir "$sdks/rust-$1" >&2
    echo "exec '$sdks/rust-$1/debug/error-tracking-sample'"
}

# ruby_sample LIBRARY SCRIPT
ruby_sample() {
    ruby -e "require '$1'" >&2
    echo "exec ruby '$2'"
}

browser() {
    local folder=$sdks/browser
    node_modules browser tests/sdk/browser
    "${CHROMIUM:-/usr/bin/chromium}" --version >&2
    # Beside node_modules, where the bundler looks for the SDK.
    cp tests/sdk/browser/page.js "$folder/page.js"
    (cd "$folder" && node_modules/.bin/esbuild page.js --bundle --format=iife --outfile=bundle.js --log-level=warning >&2)
    echo "NODE_PATH='$folder/node_modules' exec node '$root/tests/sdk/browser/drive.js' '$folder/bundle.js'"
}

sentry_cli() {
    local program=$sdks/sentry-cli/node_modules/.bin/sentry-cli
    node_modules sentry-cli tests/sdk/sentry-cli
    "$program" --version >&2
    echo "'$program' send-event --no-environ --release shop@1.0.0 --user id:42 --user username:ada --message 'Hello from sentry-cli'"
    echo "exec '$program' send-event '$root/tests/sdk/sentry-cli/event.json'"
}

php_double() {
    python3 --version >&2
    echo "exec python3 -B '$root/tests/sdk/php_double.py' $1"
}

row python-1.21.0 python 1.21.0 tests/sdk/python-1.21.0.txt
row python-current python current "$samples/python/requirements.txt"
row node-7.38.0 node_sample 7.38.0 tests/sdk/node-7.38.0
row node-current node_sample current "$samples/node"
row go-0.13.0 go_sample 0.13.0 "$samples/go" "$root/tests/sdk/go/0.13.0.mod"
row go-0.20.0 go_sample 0.20.0 "$samples/go" "$root/tests/sdk/go/0.20.0.mod"
row go-current go_sample current "$samples/go"
row raven-go-0.1.0 go_sample raven tests/sdk/raven-go
row java-6.18.1 java_sample 6.18.1 -Dsentry.version=6.18.1
row java-current java_sample current
row rust-0.31.0 rust_sample 0.31.0 tests/sdk/rust-0.31.0
row rust-current rust_sample current "$samples/rust"
row ruby-5.3.0 ruby_sample sentry-ruby "$samples/ruby/main.rb"
row raven-ruby-3.1.2 ruby_sample raven "$root/tests/sdk/raven.rb"
row browser-current browser
row sentry-cli-current sentry_cli
row php-3.18 php_double 3.18
row php-4.29 php_double 4.29

# PHP's SDK cannot be had from a package registry here, so its sample is only read.
if command -v php >/dev/null; then
    say "examples/sdk/php/main.php: $(php -l "$samples/php/main.php" 2>&1 | head -n 1)"
else
    say "examples/sdk/php/main.php is not checked: php is not installed"
fi

say "sending (a cold build of the crate takes about 10 minutes first)"
log=$logs/sdk-matrix.log
code=0
# What failed is said in words: no stack of the test itself.
ERROR_TRACKING_SDKS=$rows RUST_BACKTRACE=0 cargo test --locked --test sdk -- --include-ignored --nocapture 2>&1 | tee "$log" || code=$?
summary=$(grep '^sdks: ' "$log" | tail -n 1 || true)
echo "${summary:-sdks: 0 of 18 seen}"
exit "$code"
