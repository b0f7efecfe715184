// A real daemon with real programs that put its agents into all states.

import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import readline from "node:readline";

const LINES = 'while :; do n=$((n+1)); echo "line $n <b id=markup>of output</b>"; sleep 0.2; done';
const CRASH = 'echo "cannot open database: <img id=evil src=x>"; exit 3';
const DEAF = 'trap "" TERM; while :; do sleep 0.1; done';
const quick = { interval: "1s", heartbeat_timeout: "0s", start_grace: "0s" };

// The settings of each kind.
const KINDS = {
  web: { binary_path: "/bin/sleep", args: ["100000"], health_check: quick },
  talker: { binary_path: "/bin/sh", args: ["-c", LINES], health_check: quick },
  crash: { binary_path: "/bin/sh", args: ["-c", CRASH], health_check: quick, restart: { max_retries: 0 } },
  flaky: { binary_path: "/bin/false", args: ["x"], health_check: quick, restart: { backoff_base: "1h", backoff_max: "1h" } },
  // No HTTP server listens there.
  sick: {
    binary_path: "/bin/sleep", args: ["100001"], restart: { policy: "never" },
    health_check: { ...quick, http_endpoint: "http://127.0.0.1:9/" },
  },
  silent: { binary_path: "/bin/sleep", args: ["100002"], health_check: { interval: "1s", start_grace: "1h" } },
  off: { binary_path: "/bin/sleep", args: ["100003"], enabled: false, health_check: quick },
  deaf: { binary_path: "/bin/sh", args: ["-c", DEAF], stop_timeout: "1h", health_check: quick },
  waits: { binary_path: "/bin/sleep", args: ["100004"], depends_on: ["crash-002"], health_check: quick },
};

// Agents of which each depends on the one before it.
export const chain = ids => ids.map((id, n) => ({ id, depends_on: ids.slice(0, n).slice(-1), ...KINDS.web }));

// The settings of `count` agents: one of each kind, and the rest run.
export function agents(count, extra = []) {
  const kinds = Object.keys(KINDS), list = [];
  for (let n = 0; n < count; n++) {
    const kind = n < kinds.length && count > kinds.length ? kinds[n] : count > 100 && n % 60 === 9 ? "crash" : "web";
    list.push({ id: `${kind}-${String(n).padStart(3, "0")}`, name: `Program ${n}`, labels: labels(n), ...KINDS[kind] });
  }
  return [...list, ...extra];
}

const labels = n => ({ zone: n % 2 ? "east" : "west", team: ["blue", "green", "red"][n % 3] });

export class Daemon {
  constructor(directory, program) {
    this.directory = directory;
    this.program = program;
    this.config = path.join(directory, "daemon.yaml");
    this.port = 0;
    this.token = "";
  }

  // A free port, which a second start has again.
  async choosePort() {
    const server = net.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    this.port = server.address().port;
    await new Promise(done => server.close(done));
  }

  write(list) {
    const http = { host: "127.0.0.1", port: this.port };
    if (this.token) http.token_file = path.join(this.directory, "token");
    if (this.token) fs.writeFileSync(http.token_file, this.token, { mode: 0o600 });
    // JSON is YAML.
    fs.writeFileSync(this.config, JSON.stringify({ daemon: { work_dir: path.join(this.directory, "state"), http }, agents: list }, null, 1));
  }

  // Starts it, and waits until it listens.
  async start() {
    const log = fs.openSync(path.join(this.directory, "errors.log"), "a");
    this.process = spawn(this.program, ["run", "--config", this.config], { stdio: ["ignore", "pipe", log] });
    this.ended = once(this.process, "exit");
    const lines = readline.createInterface({ input: this.process.stdout });
    const all = fs.createWriteStream(path.join(this.directory, "daemon.log"), { flags: "a" });
    await new Promise((done, failed) => {
      lines.on("line", line => {
        all.write(line + "\n");
        if (/"message":"listening".*"socket":/.test(line)) done();
      });
      this.ended.then(() => failed(new Error("the daemon ended: " + fs.readFileSync(path.join(this.directory, "errors.log"), "utf8"))));
    });
  }

  get url() { return `http://127.0.0.1:${this.port}/`; }

  async get(route) {
    const headers = this.token ? { authorization: "Bearer " + this.token } : {};
    return (await fetch(this.url + route, { headers })).json();
  }

  async post(route) { return (await fetch(this.url + route, { method: "POST" })).json(); }

  // Waits until the agents are as `wanted` says.
  async until(wanted, what) {
    const end = Date.now() + 60000;
    for (;;) {
      const { agents: list } = await this.get("agents");
      if (wanted(list)) return list;
      if (Date.now() > end) throw new Error(`not reached: ${what}: ${JSON.stringify(list.map(a => [a.agent_id, a.state]))}`);
      await new Promise(done => setTimeout(done, 100));
    }
  }

  async kill() {
    this.process.kill("SIGKILL");
    await this.ended;
  }

  // Stops it with all its agents.
  async stop() {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      for (const { agent_id: id, pid } of (await this.get("agents")).agents) {
        if (id.startsWith("deaf") && pid) process.kill(pid, "SIGKILL");
      }
      this.process.kill("SIGINT");
      await this.ended;
    }
  }
}
