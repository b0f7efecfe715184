"""monit watches the status file's timestamp and `/health`, with configs/monit."""

import re
import signal

from support import Agent, Program, Systemctl, require, scratch, shipped, wait_until

NEEDS = ["monit"]

# How many cycles without an action are enough.
QUIET_CYCLES = 5


def run(programs, tools):
    with scratch() as directory:
        agent = Agent(programs, directory)
        act = lambda verb, _: {"start": agent.start, "stop": agent.stop}[verb]()
        with agent, Systemctl(directory, ["ops-agent@agent"], act) as systemctl:
            wait_until("the agent runs", lambda: agent.check() == 0)
            config, log = directory / "monitrc", directory / "monit.log"
            rules = shipped("configs/monit/ops-agent.conf", agent.changes | {"/usr/bin/systemctl": systemctl.path})
            own = "".join(f"set {name}file {directory}/monit.{name}\n" for name in ("pid", "id", "state"))
            config.write_text(f"set daemon 1\nset log {log}\n{own}\n{rules}")
            config.chmod(0o600)
            with Program([tools["monit"], "-v", "-I", "-c", config], directory / "monit-output.log"):
                watch(agent, systemctl, log)


def watch(agent, systemctl, log):
    def count(pattern):
        return len(re.findall(pattern, log.read_text(), re.MULTILINE)) if log.exists() else 0

    def after(what, pattern, action, times=1):
        """Acts, then waits until the log has the pattern `times` more often."""
        enough = count(pattern) + times
        action()
        wait_until(f"monit: {what}", lambda: count(pattern) >= enough)

    def calm():
        after("well", r"'ops-agent' modify/change time test succeeded", lambda: None, QUIET_CYCLES)
        after("/health is well", r"'ops-agent-health' succeeded testing protocol \[HTTP\]", lambda: None, QUIET_CYCLES)

    calm()
    require(systemctl.calls == [] and count(r"^\S+ error ") == 0, "monit finds nothing in a healthy agent")

    after("503 is seen", r"'ops-agent-health' failed protocol test \[HTTP\]", agent.degrade)
    require(agent.check() == 1, "the agent is Degraded")
    after("200 is seen", r"'ops-agent-health' connection succeeded", agent.mend)
    require(systemctl.calls == [], "monit restarts a Degraded agent")

    earlier = agent.process.pid
    after("the stopped agent is seen", r"^\S+ error +: 'ops-agent' modify/change time", lambda: agent.signal(signal.SIGSTOP))
    wait_until("monit restarts the agent", lambda: systemctl.calls == ["stop ops-agent@agent", "start ops-agent@agent"])
    wait_until("the agent runs again", lambda: agent.check() == 0)
    require(agent.process.pid != earlier, "it is another process")
    calm()
    require(len(systemctl.calls) == 2, f"monit acts again: {systemctl.calls}")
