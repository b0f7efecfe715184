"""logrotate with configs/logrotate: an agent's log, the daemon's log, and the output of an agent, while all of them are written.

The agent sends a heartbeat each 100 ms, and both programs log each of them. So each log tells what the other has to have.
"""

import grp
import gzip
import json
import os
import pwd
import re
import shutil
import signal
import stat
import threading

from support import Program, Systemctl, command, ending, free_port, require, scratch, shipped, succeed, wait_until

NEEDS = ["logrotate"]

ROTATIONS = 3
AGENT, DAEMON, OUTPUT = "agent", "daemon", "output"


class Site:
    """A daemon with an agent that has a log file, and with a program that prints what the FIFO gets."""

    def __init__(self, programs, directory, logrotate):
        self.directory, self.logrotate, self.ops_daemon = directory, logrotate, [str(programs / "daemon")]
        self.work_dir, self.config = directory / "var/lib/ops-daemon", directory / "daemon.yaml"
        self.logs = {
            AGENT: directory / "var/lib/ops-agent/agent/agent.log",
            DAEMON: directory / "var/log/ops-daemon.log",
            OUTPUT: self.work_dir / "agents/printer/logs/agent.log",
        }
        for path in (self.logs[AGENT].parent, self.logs[DAEMON].parent, self.work_dir):
            path.mkdir(parents=True)
        self.fifo = directory / "fifo"
        os.mkfifo(self.fifo)
        agent_config = directory / "agent.yaml"
        agent_config.write_text(
            f"agent_id: agent-001\nhttp: {{ port: {free_port()} }}\nlog: {{ level: debug, file: {self.logs[AGENT]} }}\n"
            f'heartbeat: {{ url: "unix://{self.work_dir}/daemon.sock", interval: 100ms }}\n'
            f"state: {{ file: {directory}/var/lib/ops-agent/agent/agent-001.ron }}\n"
        )
        self.config.write_text(
            f"daemon:\n  work_dir: {self.work_dir}\n  http: {{ port: {free_port()} }}\n"
            f"  log: {{ level: debug, file: {self.logs[DAEMON]} }}\nagents:\n"
            f"  - {{ id: agent-001, binary_path: {programs}/agent, config_file: {agent_config} }}\n"
            f"  - {{ id: printer, binary_path: {shutil.which('cat')}, args: [{self.fifo}],"
            " health_check: { heartbeat_timeout: 0 } }\n"
        )

    def control(self, *args):
        return succeed([*self.ops_daemon, *args, "--config", self.config])

    def status(self):
        return command([*self.ops_daemon, "status", "--config", self.config])[1]

    def open_again(self, verb, unit):
        """What systemd does at `systemctl kill`. The daemon runs the agent here, so it passes the signal on."""
        require(verb == "kill", f"systemctl {verb} {unit}")
        if unit == "ops-daemon":
            self.daemon.signal(signal.SIGHUP)
        else:
            self.control("signal", "agent-001", "HUP")

    def rotate(self, rules):
        path, state = self.directory / "logrotate.conf", self.directory / "logrotate.state"
        path.write_text("\n".join(rules))
        path.chmod(0o644)
        # `systemctl` is found in the directory.
        env = ["env", f"PATH={self.directory}:{os.environ['PATH']}"]
        output = succeed([*env, self.logrotate, "--force", "--verbose", "--state", state, path])
        require("error:" not in output, output)

    def goes_on(self, log):
        wait_until(f"the {log} log goes on", lambda: self.logs[log].read_bytes().count(b"\n") > 3)

    def files(self, log):
        """The texts of the log's files, oldest first. One was compressed, and the last one is in use."""
        path = self.logs[log]
        numbered = {int(found.name.split(".")[2]): found for found in path.parent.glob(f"{path.name}.*")}
        older = [numbered[number] for number in sorted(numbered, reverse=True)]
        open_file = lambda path: gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
        texts = []
        for file in [*older, path]:
            with open_file(file) as opened:
                texts.append(opened.read())
        return texts

    def heartbeats(self, log, message):
        """The times of the heartbeats with this message, by file."""
        found = []
        for text in self.files(log):
            lines = text.splitlines(keepends=True)
            # `copytruncate` may cut a line in two.
            whole = [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"\n")]
            require(not any("lines_lost" in line for line in whole), f"the {log} log has lost lines")
            found.append([line["made_at"] for line in whole if line["message"] == message])
        return found


def run(programs, tools):
    with scratch() as directory:
        site = Site(programs, directory, tools["logrotate"])
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
        changes = {"/var/lib/": f"{directory}/var/lib/", "/var/log/": f"{directory}/var/log/"}
        for owner in ("ops-agent ops-agent", "root root"):
            changes |= {f"su {owner}": f"su {user} {group}", f"create 0640 {owner}": f"create 0640 {user} {group}"}
        rules = dict(zip(site.logs, parts(shipped("configs/logrotate/ops-agent", changes)), strict=True))
        # Held open, so that the program reads on between two lines.
        fifo = os.open(site.fifo, os.O_RDWR)
        site.daemon = Program([*site.ops_daemon, "run", "--config", site.config], directory / "daemon.log", signal.SIGINT, 60)
        units = ["ops-daemon", "ops-agent@agent"]
        with site.daemon, Systemctl(directory, units, site.open_again) as systemctl:
            try:
                wait_until("the agents run", lambda: site.status().startswith("2 running"))
                with Printer(fifo) as printer:
                    shipped_rules(site, rules, systemctl)
                    other_rules(site, rules)
                quiet_output(site, rules, printer)
                replaced_output(site, rules, printer)
            finally:
                os.close(fifo)


def parts(text):
    """The parts of a file for logrotate, each with its braces."""
    return re.findall(r"^/.*? \{\n.*?^\}\n", text, re.MULTILINE | re.DOTALL)


class Printer(threading.Thread):
    """Lets the program print numbered lines as fast as it reads them."""

    def __init__(self, fifo):
        super().__init__()
        self.fifo, self.number, self.stopping = fifo, 0, threading.Event()

    def line(self):
        self.number += 1
        os.write(self.fifo, b"line %d\n" % self.number)

    def run(self):
        while not self.stopping.wait(0.0005) and not ending.is_set():
            self.line()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()


def shipped_rules(site, rules, systemctl):
    for _ in range(ROTATIONS):
        earlier = {log: site.logs[log].stat().st_ino for log in (AGENT, DAEMON)}
        site.rotate(rules.values())
        for log in site.logs:
            site.goes_on(log)
        for log in (AGENT, DAEMON):
            is_like_created(site.logs[log], earlier[log])
        is_dense(site.logs[OUTPUT])
    require(len(systemctl.calls) == 2 * ROTATIONS, f"systemctl was called for {systemctl.calls}")
    no_heartbeat_is_missing(site)
    numbers_are_whole(site)


def is_like_created(path, earlier):
    found = path.stat()
    require(found.st_ino != earlier, f"{path} is the earlier file")
    require(stat.S_IMODE(found.st_mode) == 0o640 and found.st_uid == os.getuid(), f"{path} has other rights: {found}")


def is_dense(path):
    """A program that does not append would write on at its earlier offset, after a hole."""
    found = path.stat()
    require(found.st_blocks * 512 >= found.st_size and b"\0" not in path.read_bytes(), f"{path} has a hole: {found}")


def no_heartbeat_is_missing(site):
    """`create` loses no line. A line that is still on its way comes."""

    def missing(log, message, other, other_message):
        # Read first what came later.
        later = {made_at for file in site.heartbeats(other, other_message) for made_at in file}
        found = {made_at for file in site.heartbeats(log, message) for made_at in file}
        return later - found if len(later) > 10 else {"too few to tell"}

    wait_until("the agent's log has each heartbeat that the daemon has accepted",
               lambda: not missing(AGENT, "heartbeat sent", DAEMON, "heartbeat accepted"))
    wait_until("the daemon's log has each heartbeat that the agent has delivered",
               lambda: not missing(DAEMON, "heartbeat accepted", AGENT, "heartbeat delivered"))


def numbers_are_whole(site):
    """`copytruncate` loses what is written between copy and truncation, and nothing else."""
    last = 0
    for text in site.files(OUTPUT):
        found = [int(number) for number in re.findall(rb"^line (\d+)\n", text, re.MULTILINE)]
        require(found == list(range(found[0], found[0] + len(found))), "lines within a file are missing")
        require(found[0] > last, f"line {found[0]} comes after line {last}")
        last = found[-1]


def other_rules(site, rules):
    """`copytruncate` for the logs of agent and daemon, one after the other, so that one of them is complete."""
    for log, message, other, other_message in (
        (AGENT, "heartbeat sent", DAEMON, "heartbeat accepted"),
        (DAEMON, "heartbeat accepted", AGENT, "heartbeat delivered"),
    ):
        rule = re.sub(r"^ *create .*\n", "    copytruncate\n", rules[log], flags=re.MULTILINE)
        rule = re.sub(r"^ *postrotate\n.*?endscript\n", "", rule, flags=re.MULTILINE | re.DOTALL)
        inode = site.logs[log].stat().st_ino
        for _ in range(ROTATIONS):
            site.rotate([rule])
            site.goes_on(log)
            is_dense(site.logs[log])
        require(site.logs[log].stat().st_ino == inode, f"{rule} replaced the file")
        gaps_are_between_files(site, log, message, other, other_message)


def gaps_are_between_files(site, log, message, other, other_message):
    expected = sorted(made_at for file in site.heartbeats(other, other_message) for made_at in file)
    for file in site.heartbeats(log, message):
        within = [made_at for made_at in expected if file and file[0] < made_at < file[-1]]
        missing = set(within) - set(file)
        require(not missing, f"the {log} log has no line of the heartbeats {missing}, between others in one file")


def quiet_output(site, rules, printer):
    """While nothing is printed, `copytruncate` loses nothing."""
    has_last = lambda text: b"line %d\n" % printer.number in text
    wait_until("the last line is in the log", lambda: has_last(site.files(OUTPUT)[-1]))
    site.rotate([rules[OUTPUT]])
    for _ in range(5):
        printer.line()
    wait_until("the log goes on", lambda: has_last(site.files(OUTPUT)[-1]))
    *_, copy, text = site.files(OUTPUT)
    require(copy.endswith(b"line %d\n" % (printer.number - 5)), "the copy has the last line")
    require(text.startswith(b"line %d\n" % (printer.number - 4)), "the log begins with the next line")


def replaced_output(site, rules, printer):
    """With `create`, the output goes to the earlier file, and the daemon says so."""
    site.rotate([rules[OUTPUT].replace("copytruncate", "create")])
    printer.line()
    wait_until("the output is in the earlier file", lambda: site.files(OUTPUT)[-2].endswith(b"line %d\n" % printer.number))
    # A reload looks at the logs at once.
    site.control("reload")
    wait_until("the daemon names it", lambda: "the log was replaced" in site.control("why", "printer"))
    site.control("restart", "printer")
    wait_until("the log goes on", lambda: b"=== started" in site.files(OUTPUT)[-1])
