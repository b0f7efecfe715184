"""The checks of configs/nagios, in each state of the agent: the plugins and `ops-agent check` agree."""

import shlex
import signal

from support import Agent, command, require, scratch, shipped, wait_until

NEEDS = ["check_http", "check_procs", "check_file_age"]

# The exit codes of plugins.
OK, WARNING, CRITICAL = 0, 1, 2


def run(programs, tools):
    with scratch() as directory:
        agent = Agent(programs, directory)
        changes = {"/usr/lib/nagios/plugins/": "", "/usr/local/bin/": f"{directory}/usr/local/bin/", "/etc/": f"{directory}/etc/"}
        checks = parse(shipped("configs/nagios/ops-agent.cfg", changes | agent.changes), tools)
        with agent:
            states(agent, checks)


def parse(text, tools):
    """The commands by name, with the paths of the plugins."""
    checks = {}
    for line in text.splitlines():
        if line.startswith("command["):
            name, _, words = line.removeprefix("command[").partition("]=")
            program, *rest = shlex.split(words)
            checks[name.removeprefix("ops_")] = [tools.get(program, program), *rest]
    require(list(checks) == ["agent", "agent_http", "agent_process", "agent_file"], f"the checks are {list(checks)}")
    return checks


def states(agent, checks):
    def see(state, *expected):
        """Waits until all four checks say what is expected, in the order of the file."""
        found = {}

        def agree():
            found.update({name: command(check) for name, check in checks.items()})
            return [code for code, _ in found.values()] == list(expected)

        try:
            wait_until(f"{state}: {expected}", agree, limit=90)
        finally:
            print(f"nagios: {state}: " + ", ".join(text.splitlines()[0].split("|")[0].strip() for _, text in found.values()))

    see("running", OK, OK, OK, OK)
    agent.degrade()
    see("Degraded", WARNING, CRITICAL, OK, OK)
    require(agent.check("--live") == OK, "`check --live` is OK for a Degraded agent")
    agent.mend()
    see("running again", OK, OK, OK, OK)
    agent.signal(signal.SIGSTOP)
    see("stuck", CRITICAL, CRITICAL, OK, CRITICAL)
    agent.signal(signal.SIGCONT)
    see("continued", OK, OK, OK, OK)
    agent.stop()
    require(command(checks["agent"])[0] == CRITICAL, "`check` sees the stop at once")
    see("stopped", CRITICAL, CRITICAL, CRITICAL, CRITICAL)
    agent.start()
    see("started", OK, OK, OK, OK)
    agent.signal(signal.SIGKILL)
    agent.process.wait()
    require(command(checks["agent"])[0] == CRITICAL, "`check` sees the death at once")
    require(command(checks["agent_process"])[0] == CRITICAL, "the process is gone")
