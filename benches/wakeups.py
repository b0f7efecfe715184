"""Which thread of a process gives the processor away for what: the kernel's stack at every context switch, by `perf`."""

import signal
import subprocess
from collections import Counter

from measure import switches

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
        self.before = switches(pid)
        self.perf = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def close(self):
        """How often which thread has waited for what; and how many switches that makes of the threads that were there before,
        beside how many the kernel has counted. None if perf may not look."""
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait()
        now = switches(self.pid)
        # Who it was on a line, and below it one line for each function, the innermost first.
        command = ["perf", "script", "-F", "comm,tid,ip,sym", "-i", self.data]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode:
            return None
        seen = [self.one(*switch.split("\n")) for switch in said.stdout.strip().split("\n\n")]
        staying = sum(tid in self.before for tid, _, _ in seen)
        counted = sum(now[tid] - count for tid, count in self.before.items())
        return Counter((role, what) for _, role, what in seen), staying, counted

    def one(self, who, *stack):
        """Thread, role, and what it waits for."""
        name, tid = who.split()[:2]
        role = "the loop" if int(tid) == self.pid else THREADS.get(name, "a thread that has no name yet")
        functions = [line.split()[-1] for line in stack]
        if any(known in function for function in functions[:4] for known in PREEMPTED):
            return int(tid), role, "others had their turn"
        for known, what in WAITING.items():
            if any(known in function for function in functions):
                return int(tid), role, what
        return int(tid), role, f"something else: {' < '.join(functions[:4])}"
