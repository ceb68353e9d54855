#!/usr/bin/env bash
# console-forward.sh start|stop: keeps a port-forward to the console of the demo running. `start` prints its address; the process
# outlives the script, and its id is in the cache folder.
# shellcheck source=hack/steps.sh
. "$(dirname "$0")/steps.sh"

state=$cache/demo-console
mkdir -p "$cache"

# The process that the file names, if it is still ours and not somebody who got its number since.
running() {
    local pid
    pid=$(cat "$state.pid" 2>/dev/null) || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q 'console-forward.sh keep' || return 1
    echo "$pid"
}

stop() {
    local pid
    if pid=$(running); then kill -- "-$pid" 2>/dev/null || true; fi
    rm -f "$state.pid"
}

free_port() {
    local port
    for port in $(seq 8000 8099); do
        if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
            echo "$port"
            return
        fi
    done
    fail "no free port between 8000 and 8099 for the console"
}

case ${1-} in
    start)
        stop
        port=$(free_port)
        setsid "$root/hack/console-forward.sh" keep "$port" >"$logs/console-forward.log" 2>&1 </dev/null &
        echo $! >"$state.pid"
        echo "http://127.0.0.1:$port/"
        ;;
    keep)
        # A port-forward ends with its pod.
        while true; do
            kubectl --namespace error-tracking port-forward service/error-tracking-console "${2:?port}:80" || true
            sleep 1
        done
        ;;
    stop) stop ;;
    *) fail "usage: console-forward.sh start|stop" ;;
esac
