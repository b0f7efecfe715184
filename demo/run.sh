#!/usr/bin/env bash
# A daemon with three agents on free ports, in a directory that is removed at the end. Ctrl-C stops everything.
# Usage: demo/run.sh [DIRECTORY WITH agent AND daemon]; without one, both are built first.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 0 ]; then
    cargo build --release --locked --quiet --manifest-path "$root/Cargo.toml" --bins
    set -- "${CARGO_TARGET_DIR:-$root/target}/release"
fi
bin=$(cd "$1" && pwd)

scratch=$(mktemp -d "${TMPDIR:-/tmp}/ops-agent-demo.XXXXXX")
cd "$scratch"
daemon=
finish() {
    trap - EXIT
    trap '' INT TERM
    if [ -n "$daemon" ] && kill -INT "$daemon" 2>/dev/null; then
        echo "stopping the agents, then the daemon"
        wait "$daemon" || true
    fi
    rm -rf "$scratch"
    echo "all stopped; nothing is left behind"
    exit 0
}
trap finish EXIT INT TERM

{
    echo "daemon: { work_dir: state, http: { port: 0 } }"
    echo "agent_defaults:"
    echo "  health_check: { interval: 1s, heartbeat_timeout: 10s, state_max_age: 8s, start_grace: 5s }"
    echo "  restart: { backoff_base: 5s, backoff_max: 30s }"
    echo "agents:"
    for id in agent-001 agent-002 agent-003; do
        echo "  - { id: $id, binary_path: $bin/agent, config_file: $id.yaml,"
        [ $id = agent-003 ] && policy=never || policy=always
        echo "      restart: { policy: $policy }, health_check: { state_file: state/agents/$id/state/$id.ron } }"
    done
} >daemon.yaml
for id in agent-001 agent-002 agent-003; do
    cat >$id.yaml <<EOF
agent_id: $id
http: { port: 0 }
heartbeat: { url: "unix://$scratch/state/daemon.sock", interval: 2s }
state: { refresh: 2s }
EOF
done

# The daemon gets its own process group, so that Ctrl-C reaches only this script, which then stops the daemon.
set -m
"$bin/daemon" run --config daemon.yaml >daemon.log 2>&1 &
daemon=$!
set +m
address=
: >status
for _ in $(seq 300); do
    address=$(sed -n 's/.*"listening".*"address":"\([^"]*\)".*/\1/p' daemon.log)
    if [ -n "$address" ] && "$bin/daemon" status --config daemon.yaml >status; then break; fi
    kill -0 "$daemon" || { cat daemon.log; exit 1; }
    sleep 0.1
done
cat status
cat <<EOF

  page     http://$address/

Try, in another terminal:

  cd $scratch; PATH=$bin:\$PATH
  daemon status --watch --config daemon.yaml
  kill -9 PID_OF_001       # restarted at once, the second time after 5 s
  kill -STOP PID_OF_002    # its port stays open, its status file becomes stale: restarted after 8 s
  kill -STOP PID_OF_003    # the same, but its policy is \`never\`: daemon why agent-003 --config daemon.yaml
  curl http://$address/metrics
  tail -f daemon.log

Ctrl-C stops the agents and the daemon.
EOF
wait "$daemon"
