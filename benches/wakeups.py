"""Why the threads of a process wait: the kernel's stack at every context switch, recorded by `perf`."""

import signal
import subprocess
from collections import Counter

from measure import switches

# Kernel functions on the stack of a thread that is switched out. The first match in this order counts.
PREEMPTED = ("irqentry", "exit_to_user_mode", "preempt_schedule", "cond_resched")
WAITING = {
    "do_exit": "nothing: it ends",
    "page_fault": "a page of a file",
    "fsync": "the disk: fsync",
    "rename": "the disk: rename",
    "openat": "the disk: open",
    "write": "the disk: write",
    "epoll": "a timer or a peer",
    "futex": "another thread or a timeout",
}
THREADS = {"async-io": "the reactor's helper", "blocking": "the writing thread"}


class Recording:
    """The context switches of one process from now on."""

    def __init__(self, pid, directory):
        self.pid, self.data = pid, directory / "perf.data"
        command = ["perf", "record", "-q", "-g", "-e", "context-switches", "-c", "1", "-o", self.data, "-p", str(pid)]
        self.before = switches(pid)
        self.perf = subprocess.Popen(command, stderr=subprocess.DEVNULL)

    def close(self):
        """Returns how often each thread has waited for what, the switches of the threads that existed at the start, and
        the kernel's own count for these threads. None if perf has no permission."""
        self.perf.send_signal(signal.SIGINT)
        self.perf.wait()
        now = switches(self.pid)
        # The thread on one line, and below it one line per function, the innermost first.
        command = ["perf", "script", "-F", "comm,tid,ip,sym", "-i", self.data]
        script = subprocess.run(command, capture_output=True, text=True)
        if script.returncode:
            return None
        seen = [self.parse(*switch.split("\n")) for switch in script.stdout.strip().split("\n\n")]
        staying = sum(tid in self.before for tid, _, _ in seen)
        counted = sum(now[tid] - count for tid, count in self.before.items())
        return Counter((role, what) for _, role, what in seen), staying, counted

    def parse(self, thread, *stack):
        """Returns the thread ID, its role, and what it waits for."""
        name, tid = thread.split()[:2]
        role = "the loop" if int(tid) == self.pid else THREADS.get(name, "a thread without a name")
        functions = [line.split()[-1] for line in stack]
        if any(known in function for function in functions[:4] for known in PREEMPTED):
            return int(tid), role, "nothing: it was preempted"
        for known, what in WAITING.items():
            if any(known in function for function in functions):
                return int(tid), role, what
        return int(tid), role, f"something else: {' < '.join(functions[:4])}"
