"""Comparable programs, each with the smallest configuration that gives it a comparable job: report or answer a question
every 30 s, and sample the host or write something every 10 s."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

from subjects import Subject, installed

# Debian's names of the packages and of their programs.
PACKAGES = {
    "prometheus-node-exporter": "prometheus-node-exporter",
    "zabbix-agent2": "zabbix_agent2",
    "collectd-core": "collectd",
    "monit": "monit",
    "supervisor": "supervisord",
    "nginx-light": "nginx",
    "wrk": "wrk",
    "strace": "strace",
    "curl": "curl",
    "valgrind": "valgrind",
    "linux-perf": "perf",
}

# Debian runs this script to ask whether it may start a service.
POLICY = Path("/usr/sbin/policy-rc.d")


def install():
    """As root, installs the packages from Debian. Returns the programs that are still missing."""
    missing = {package for package, program in PACKAGES.items() if not installed(program)}
    if missing and os.geteuid() == 0 and installed("apt-get"):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], check=False, **quiet)
        command = ["apt-get", "install", "-y", "--no-install-recommends"]
        with no_services():
            for package in sorted(missing):
                subprocess.run([*command, package], env=env, check=False, **quiet)
    return sorted(program for program in PACKAGES.values() if not installed(program))


@contextlib.contextmanager
def no_services():
    """Debian starts a service when it is installed. Such a service would share its pages with the measured copy."""
    if POLICY.exists():
        # The administrator has written it, so it stays.
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def versions():
    """The versions of the installed packages, if there is dpkg."""
    if not installed("dpkg-query"):
        return []
    query = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *PACKAGES], capture_output=True, text=True)
    return query.stdout.splitlines()


class Nginx(Subject):
    """One worker that answers with `body`, from memory."""

    name = "nginx"
    program = "nginx"

    def __init__(self, body="{}", directory=None):
        self.body = body
        super().__init__(directory)

    def prepare(self):
        (self.directory / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {self.directory}/pid;\n"
            "events { worker_connections 2048; }\n"
            "http { access_log off; keepalive_requests 100000000; keepalive_timeout 600s;\n"
            f"  client_body_temp_path {self.directory}/body; default_type application/json;\n"
            f"  server {{ listen 127.0.0.1:{self.port} backlog=1024; location / {{ return 200 '{self.body}'; }} }} }}\n"
        )

    def command(self):
        return ["nginx", "-c", self.directory / "nginx.conf", "-e", "/dev/null", "-p", self.directory]


class LoggingNginx(Nginx):
    """Logs the time and the path of each request."""

    def prepare(self):
        super().prepare()
        config = self.directory / "nginx.conf"
        log = f"log_format times '$msec $uri'; access_log {self.directory}/requests times buffer=64k flush=1s;"
        config.write_text(config.read_text().replace("access_log off;", log))

    def requests(self):
        """The times of all requests by path. Of the last second, some may be missing."""
        times = {}
        for line in (self.directory / "requests").read_text().splitlines():
            at, path = line.split()
            times.setdefault(path, []).append(float(at))
        return times


class NodeExporter(Subject):
    """With two cheap collectors. It sends nothing, so the benchmark scrapes it."""

    name = "node_exporter"
    program = "prometheus-node-exporter"

    def command(self):
        collectors = ["--collector.disable-defaults", "--collector.loadavg", "--collector.meminfo"]
        return [self.program, *collectors, f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=error"]

    def probe(self):
        self.get("/metrics")


class ZabbixAgent(Subject):
    """With passive checks only, so the benchmark sends it requests."""

    name = "zabbix-agent2"
    program = "zabbix_agent2"
    speaks_http = False
    # The ports that its configuration accepts.
    ports = range(20000, 32768)

    def prepare(self):
        here = self.directory
        (here / "zabbix.conf").write_text(
            f"Server=127.0.0.1\nListenIP=127.0.0.1\nListenPort={self.port}\nHostname=bench\nLogType=console\n"
            f"PidFile={here}/pid\nControlSocket={here}/control\nPluginSocket={here}/plugins\n"
        )

    def command(self):
        return [self.program, "-f", "-c", self.directory / "zabbix.conf"]

    def probe(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as peer:
            key = b"agent.ping"
            peer.sendall(b"ZBXD\x01" + len(key).to_bytes(8, "little") + key)
            peer.recv(100)


class Collectd(Subject):
    """Writes CPU and memory to files every 10 s, without fsync. It neither answers nor reports."""

    is_comparable = False

    name = "collectd"
    program = "collectd"

    def prepare(self):
        here = self.directory
        (here / "collectd.conf").write_text(
            f'BaseDir "{here}"\nPIDFile "{here}/pid"\nHostname "bench"\nFQDNLookup false\nInterval 10\nReadThreads 1\nWriteThreads 1\n'
            "LoadPlugin cpu\nLoadPlugin memory\nLoadPlugin csv\n"
            f'<Plugin csv>\n  DataDir "{here}/csv"\n</Plugin>\n'
        )

    def command(self):
        return [self.program, "-f", "-C", self.directory / "collectd.conf"]

    def answers(self):
        return (self.directory / "csv").exists()


class Monit(Subject):
    """Samples the host every 10 s, and serves its page."""

    name = "monit"
    program = "monit"
    speaks_http = False

    def prepare(self):
        here, config = self.directory, self.directory / "monitrc"
        config.write_text(
            f"set daemon 10\nset log {here}/log\nset pidfile {here}/pid\nset idfile {here}/id\nset statefile {here}/state\n"
            f"set httpd port {self.port} and use address 127.0.0.1 allow 127.0.0.1\n"
            "check system bench if loadavg (1min) > 1000 then alert\n"
        )
        config.chmod(0o600)

    def command(self):
        return [self.program, "-I", "-c", self.directory / "monitrc"]


class CheckingMonit(Monit):
    """Sends a request to each of these addresses in turn, waits a second, and begins again."""

    def __init__(self, port, paths, directory=None):
        self.checked, self.paths = port, paths
        super().__init__(directory)

    def prepare(self):
        super().prepare()
        config = self.directory / "monitrc"
        check = 'check host {0} with address 127.0.0.1 if failed port {1} protocol http request "/{0}" then alert\n'
        lines = config.read_text().replace("set daemon 10\n", "set daemon 1\n")
        config.write_text(lines + "".join(check.format(path, self.checked) for path in self.paths))
        config.chmod(0o600)


class Supervisord(Subject):
    """Supervises this number of programs that do nothing."""

    name = "supervisord"
    program = "supervisord"
    expected_exits = (0,)

    def __init__(self, programs, directory=None):
        self.programs = programs
        super().__init__(directory)

    def prepare(self):
        here = self.directory
        begin = f"[supervisord]\nnodaemon=true\nuser=root\nminfds=4096\nlogfile={here}/log\npidfile={here}/pid\nchildlogdir={here}\n"
        program = "[program:p{0}]\ncommand=/bin/sleep 1000000\nstartsecs=0\n"
        (here / "supervisord.conf").write_text(begin + "".join(program.format(n) for n in range(self.programs)))

    def command(self):
        return [self.program, "-c", self.directory / "supervisord.conf"]

    def answers(self):
        return (self.directory / "pid").exists()


ALL = [NodeExporter, ZabbixAgent, Collectd, Monit]


def present(kinds):
    """The installed ones of these programs."""
    return [kind for kind in kinds if installed(kind.program)]
