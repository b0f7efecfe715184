"""The measured programs, as processes in directories of their own: this project's agent and daemon, and their common base."""

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from measure import cpu

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("BENCH_BIN", ROOT / "target/release")).resolve()
TIMEOUT = 60
# A directory in memory, where a write takes no time. None: there is none, and the disk is used.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

# In the environment of each process that is started here, including the agents of a daemon.
TAG = f"BENCH_RUN={os.getpid()}"
os.environ.update([TAG.split("=")])


class Subject:
    """A program in a temporary directory, on a free port. `ready_after` is the time from exec to its first answer."""

    name = ""
    # The path of the request that checks whether it works.
    path = "/"
    # The ports that it can use; 0 is any.
    ports = (0,)
    # Whether it reports or answers, as the agent does.
    is_comparable = True
    # The exit codes that are not errors: success, or the end by the signal.
    expected_exits = (0, -signal.SIGTERM)
    # Whether its first answer has to be a 200 over HTTP.
    speaks_http = True

    def __init__(self, directory=None):
        self._temporary = tempfile.TemporaryDirectory(prefix="bench-", dir=directory)
        self.directory = Path(self._temporary.name)
        self.port = free_port(self.ports)
        self.log = open(self.directory / "output", "ab")
        self.usage = None
        self.prepare()
        try:
            self.launch()
        except BaseException:
            self.kill()
            raise

    def prepare(self):
        """Writes its configuration."""

    def command(self):
        raise NotImplementedError

    def launch(self):
        arguments = [str(word) for word in self.command()]
        program = shutil.which(arguments[0], path=SEARCH_PATH) or arguments[0]
        started = time.monotonic()
        self.process = subprocess.Popen(
            [program, *arguments[1:]], cwd=self.directory, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )
        self.wait(self.answers, pause=0.0002)
        self.ready_after = time.monotonic() - started

    @property
    def pid(self):
        return self.process.pid

    def wait(self, condition, pause=0.005, limit=TIMEOUT):
        until = time.monotonic() + limit
        while not condition():
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{self.name} has not reached the expected condition: {self.output()[-2000:]}")
            time.sleep(pause)

    def output(self):
        return (self.directory / "output").read_text(errors="replace")

    def answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as peer:
                if not self.speaks_http:
                    return True
                peer.sendall(f"GET {self.path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
                return peer.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    def get(self, path=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path or self.path)
        body = connection.getresponse().read()
        connection.close()
        return body

    def post(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path)
        connection.getresponse().read()
        connection.close()

    def settle(self):
        """Waits for the work that follows a start to end."""

    def probe(self):
        """Sends a request to a program that sends no heartbeats, in place of a heartbeat."""

    def stop(self, how=signal.SIGTERM):
        """Stops it. Returns the duration of the stop in seconds."""
        signalled = time.monotonic()
        handle = os.pidfd_open(self.pid)
        os.kill(self.pid, how)
        ended, _, _ = select.select([handle], [], [], TIMEOUT)
        took = time.monotonic() - signalled
        os.close(handle)
        if not ended:
            self.process.kill()
        _, status, self.usage = os.wait4(self.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.last_output = self.output()
        self.log.close()
        self._temporary.cleanup()
        if not ended:
            sys.exit(f"{self.name} did not end")
        if self.process.returncode not in self.expected_exits:
            sys.exit(f"{self.name} ended with {self.process.returncode}: {self.last_output[-2000:]}")
        return took

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if self.process.returncode is None:
            self.kill() if failure else self.stop()

    def kill(self):
        """Kills it after an error."""
        self.process.kill()
        self.process.wait()


class Agent(Subject):
    """The agent with its default configuration, except for its port. `extra` is appended to the file."""

    name = "agent"
    path = "/health"
    expected_exits = (0,)

    def __init__(self, extra="", directory=None):
        self.extra = extra
        super().__init__(directory)

    def prepare(self):
        text = f"agent_id: agent-001\nhttp:\n  port: {self.port}\n{self.extra}"
        (self.directory / "agent.yaml").write_text(text)

    def command(self):
        return [BIN / "agent", "run", "--config", "agent.yaml"]

    def is_healthy(self):
        """Whether `agent check` succeeds: Running, alive, and a fresh status file."""
        check = [BIN / "agent", "check", "--state-file", self.directory / "state/agent-001.ron"]
        return subprocess.run(check, stdout=subprocess.DEVNULL).returncode == 0

    def settle(self):
        """Waits for the response to its first heartbeat, if it sends any."""
        self.wait(lambda: json.loads(self.get())["last_heartbeat"] or "heartbeat:" not in self.extra)
        # After a write, the agent is busy for a moment longer.
        time.sleep(0.1)


class Daemon(Subject):
    """The daemon with these agents. Each is a function from the daemon to the lines of its entry."""

    name = "daemon"
    path = "/health"
    expected_exits = (0,)

    def __init__(self, agents=(), directory=None):
        self.entries = agents
        super().__init__(directory)

    def prepare(self):
        lines = [f"daemon: {{ work_dir: state, http: {{ port: {self.port} }} }}", "agents:" if self.entries else "agents: []"]
        for entry in self.entries:
            first, *rest = entry(self)
            lines += [f"  - {first}", *(f"    {line}" for line in rest)]
        (self.directory / "daemon.yaml").write_text("\n".join(lines) + "\n")

    def command(self):
        return [BIN / "daemon", "run", "--config", "daemon.yaml"]

    @property
    def socket(self):
        return self.directory / "state/daemon.sock"

    def stop(self, how=signal.SIGINT):
        """SIGINT stops its agents too."""
        return super().stop(how)


class Sink:
    """A daemon that accepts everything, so that only the sender is measured."""

    ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/heartbeat"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        # A request comes in one or two pieces: head, body.
        with contextlib.suppress(OSError):
            while piece := stream.recv(65536):
                if piece.endswith(b"}"):
                    stream.sendall(self.ANSWER)


def sweep():
    """Kills all processes that have the tag. A section that fails can leave some."""
    while found := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if pid != os.getpid() and is_tagged(pid)]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def is_tagged(pid):
    try:
        # A zombie has no environment.
        return TAG.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


# Debian installs some peers in directories that only root has in its PATH.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def installed(program):
    return shutil.which(program, path=SEARCH_PATH) is not None


def free_port(candidates=(0,)):
    for port in candidates:
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return listener.getsockname()[1]
    sys.exit("no port is free")


def cpu_during(subject, seconds):
    """The share of one core that it uses without requests."""
    before = cpu(subject.pid)
    time.sleep(seconds)
    return (cpu(subject.pid) - before) / seconds
