"""What the parts share: waits with deadlines, programs, the shipped files, and what stands in for systemd."""

import contextlib
import fnmatch
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Set when the run has to end, by a signal or by a part that fails.
ending = threading.Event()


class Failed(Exception):
    """What a part found."""


def wait_until(what, condition, limit=60):
    """Waits until `condition` returns something true, and returns that."""
    end = time.monotonic() + limit
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"did not come true within {limit} s: {what}")
        if ending.wait(0.1):
            raise Failed(f"interrupted while waiting: {what}")


def require(holds, what):
    if not holds:
        raise Failed(what)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shipped(path, changes):
    """A file of the project, with each key of `changes` replaced by its value."""
    text = (ROOT / path).read_text()
    for old, new in changes.items():
        require(old in text, f"{path} has no {old}")
        text = text.replace(old, str(new))
    return text


def command(args, limit=60):
    """Runs a program to its end. Returns its exit code and its output."""
    try:
        ended = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"did not end within {limit} s: {error.cmd}") from error
    return ended.returncode, ended.stdout


def succeed(args, limit=60):
    code, output = command(args, limit)
    require(code == 0, f"{args} ended with {code}:\n{output}")
    return output


@contextlib.contextmanager
def scratch():
    """A directory for a part. If the part fails, the ends of the logs in it are shown."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ops-peers."))
    try:
        yield directory
    except Exception:
        for log in sorted(directory.glob("*.log")):
            # monit complains about each process of a kernel without SELinux and AppArmor.
            lines = [line for line in log.read_text(errors="replace").splitlines() if "/attr/current" not in line]
            print(f"--- the end of {log}", *lines[-30:], sep="\n")
        raise
    finally:
        shutil.rmtree(directory)


class Program:
    """A program that is ended at the end of the part."""

    def __init__(self, args, log, stop_signal=signal.SIGTERM, stop_limit=20):
        self.args, self.log, self.process = [str(arg) for arg in args], log, None
        self.stop_signal, self.stop_limit = stop_signal, stop_limit

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        if self.process is None or self.process.poll() is not None:
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        """As systemd does: the signal and SIGCONT, and SIGKILL after the time limit."""
        self.signal(self.stop_signal)
        self.signal(signal.SIGCONT)
        try:
            self.process.wait(self.stop_limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Agent(Program):
    """The agent of ops-agent@agent, in `directory` instead of `/`."""

    def __init__(self, programs, directory):
        self.directory, self.port = directory, free_port()
        self.program = directory / "usr/local/bin/ops-agent"
        self.config = directory / "etc/ops-agent/agent.yaml"
        self.state_file = directory / "var/lib/ops-agent/agent/agent-001.ron"
        for path in (self.program, self.config, self.state_file):
            path.parent.mkdir(parents=True)
        self.program.symlink_to(programs / "agent")
        self.configure()
        super().__init__([self.program, "run", "--config", self.config], directory / "agent.log")
        # What the shipped files name, and where it is here.
        self.changes = {"8081": self.port, "/var/lib/": f"{directory}/var/lib/"}

    def configure(self, heartbeat=""):
        self.config.write_text(
            f"agent_id: agent-001\nhttp: {{ port: {self.port} }}\nstate: {{ file: {self.state_file} }}\n{heartbeat}"
        )

    def degrade(self):
        """Gives it a daemon that does not exist."""
        self.configure(f'heartbeat: {{ url: "unix://{self.directory}/none.sock", interval: 1s, failure_threshold: 1 }}\n')
        self.signal(signal.SIGHUP)

    def mend(self):
        self.configure()
        self.signal(signal.SIGHUP)

    def check(self, *options):
        return command([self.program, "check", "--config", self.config, *options])[0]


class Systemctl:
    """A `systemctl` that knows some units. It calls `action(verb, unit)` for each that a command names, and keeps the calls."""

    def __init__(self, directory, units, action):
        self.units, self.action, self.calls = units, action, []
        self.path = directory / "systemctl"
        address = str(directory / "systemctl.sock")
        self.path.write_text(CLIENT.format(python=sys.executable, address=address))
        self.path.chmod(0o755)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        # Ends the wait for the next command.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                connection.sendall(self.answer(connection.makefile().readline().split()).encode())

    def answer(self, words):
        """The exit code, as text."""
        self.calls.append(" ".join(words))
        verb, *rest = words
        if verb == "kill" and rest[:3] != ["--state=active", "--kill-who=main", "--signal=HUP"]:
            return "1"
        names = [word for word in rest if not word.startswith("--")]
        matched = [unit for unit in self.units for name in names if fnmatch.fnmatch(unit, name.removesuffix(".service"))]
        for unit in matched:
            self.action(verb, unit)
        return "0" if matched else "1"


CLIENT = """#!{python}
import socket, sys

with socket.socket(socket.AF_UNIX) as peer:
    peer.settimeout(60)
    peer.connect("{address}")
    peer.sendall(" ".join(sys.argv[1:]).encode() + b"\\n")
    sys.exit(int(peer.recv(16)))
"""
