"""Which thread of a process gives the processor away for what: the kernel's stack at every context switch, by `perf`."""

import signal
import subprocess
from collections import Counter

# Where a thread may be when it is switched away from, as functions of the kernel; what is further in comes first.
PREEMPTED = ("irqentry", "exit_to_user_mode", "preempt_schedule", "cond_resched")
WAITING = {
    "do_exit": "nothing any more: it ends",
    "page_fault": "a page of a file",
    "fsync": "the disk: fsync",
    "rename": "the disk: rename",
    "openat": "the disk: open",
    "write": "the disk: write",
    "epoll": "a timer or a peer",
    "futex": "another thread, or a time to be over",
}
THREADS = {"async-io": "the reactor's helper", "blocking": "the thread that comes for a write"}


class Account:
    """Of what one process does from now on."""

    def __init__(self, pid, directory):
        self.pid, self.data = pid, directory / "perf.data"
        command = ["perf", "record", "-q", "-g", "-e", "context-switches", "-c", "1", "-o", self.data, "-p", str(pid)]
        self.perf = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def close(self):
        """How often which thread has waited for what; None if perf may not look."""
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait()
        # Who it was on a line, and below it one line for each function, the innermost first.
        command = ["perf", "script", "-F", "comm,tid,ip,sym", "-i", self.data]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode:
            return None
        return Counter(self.one(*switch.split("\n")) for switch in said.stdout.strip().split("\n\n"))

    def one(self, who, *stack):
        name, tid = who.split()[:2]
        role = "the loop" if int(tid) == self.pid else THREADS.get(name, "a thread that has no name yet")
        functions = [line.split()[-1] for line in stack]
        if any(known in function for function in functions[:4] for known in PREEMPTED):
            return role, "others had their turn"
        for known, what in WAITING.items():
            if any(known in function for function in functions):
                return role, what
        return role, f"something else: {' < '.join(functions[:4])}"
