"""Ten thousand agents on one daemon, and five hundred HTTP checks every second: CPU, memory, delays, and turns of the loop."""

import http.client
import json
import socket
import threading
import time
from contextlib import suppress
from itertools import cycle, pairwise
from typing import NamedTuple

import turns
from fleet import asked, disabled, sleeper
from measure import cpu, main_thread_cpu, memory, peak, reset_peak
from peers import CheckingMonit, LoggingNginx
from report import Row, Spread, rows_as_markdown
from subjects import Daemon, installed

REGISTERED = 10_000
# So many of the registered agents run.
RUNNING = 2_000
CHECKED = 500
SETTLE = 5
# It includes two checks of each running agent.
IDLE = 60
WINDOW = 40
CLIENTS = 20
STREAMS = 5
PATHS = ("/", "/metrics", "/agents", "/health")
# The most seconds from one check to the next that are called in time.
LATE = 1.1
# The longest turn of the loop, in milliseconds of CPU time of its thread.
TURN = 20
# The aims of the section "many agents", in megabytes: a daemon without agents, a registered agent, a running one.
ALONE, EACH_REGISTERED, EACH_RUNNING = 7, 0.002, 0.012


def measure(short):
    registered, running, checked = (2_000, 200, 100) if short else (REGISTERED, RUNNING, CHECKED)
    idle, window = (30, 8) if short else (IDLE, WINDOW)
    rows = fleet(registered, running, idle, window) + checks(checked, window)
    return f"### Daemon: scale\n\n{rows_as_markdown(rows)}"


def all_run(daemon, count):
    states = lambda: json.loads(daemon.get("/health"))["agents"]
    daemon.wait(lambda: states().get("running") == count, pause=0.5, limit=180)
    time.sleep(SETTLE)


class Used(NamedTuple):
    """The CPU time in a window, in seconds: of the whole process, and of the thread of its loop."""

    total: float
    loop: float

    @classmethod
    def so_far(cls, daemon):
        return cls(cpu(daemon.pid), main_thread_cpu(daemon.pid))

    def since(self, before):
        return Used(self.total - before.total, self.loop - before.loop)

    def show(self, seconds):
        share = lambda used: f"{used / seconds * 100:.2f} %"
        return f"{share(self.total)} of one core, {share(self.loop)} of it in the loop's thread"


def fleet(registered, running, idle, window):
    agents = [sleeper(f"agent-{n}") if n < running else disabled(f"agent-{n}") for n in range(registered)]
    with Daemon(agents) as daemon:
        all_run(daemon, running)
        before = Used.so_far(daemon)
        time.sleep(idle)
        used = Used.so_far(daemon).since(before)
        rss = memory(daemon.pid).rss
        load = under_load(daemon, window / 2)
    who = f"{registered:,} registered agents, {running:,} of them running (`sleep`)"
    most, share = ALONE + registered * EACH_REGISTERED + running * EACH_RUNNING, running / 1_000
    full = idle / used.loop * running
    return [
        Row(f"RSS with {who}", f"{rss:.1f} MB", aim=f"≤ {most:.0f} MB", hit=rss <= most),
        Row(
            "CPU idle, the same, checked every 30 s",
            used.show(idle),
            aim=f"≤ {share:g} %",
            hit=used.total / idle * 100 <= share,
        ),
        Row("running agents with which the loop's thread would be full, computed from that", f"{full:,.0f}"),
        *load_rows(who, rss, load),
    ]


class Load(NamedTuple):
    """What happened while many clients asked."""

    # The number of complete answers in each half of the time.
    answers: list
    # The most resident memory in each half, in megabytes.
    peaks: list
    turns: turns.Turns


def under_load(daemon, half):
    """Clients that ask for everything again and again, and readers of streams of changes."""
    over, answers, failures = threading.Event(), [], []
    clients = [threading.Thread(target=ask, args=(daemon.port, n, over, answers, failures)) for n in range(CLIENTS)]
    clients += [threading.Thread(target=follow, args=(daemon.port, over, failures)) for _ in range(STREAMS)]
    before, counts, peaks = turns.so_far(daemon), [], []
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            reset_peak(daemon.pid)
            done = len(answers)
            time.sleep(half)
            counts.append(len(answers) - done)
            peaks.append(peak(daemon.pid))
    finally:
        over.set()
        for client in clients:
            client.join()
    if failures:
        raise SystemExit(f"{len(failures)} requests failed, the first one with {failures[0]}")
    return Load(counts, peaks, turns.between(before, turns.so_far(daemon)))


def ask(port, number, over, answers, failures):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    paths = cycle(PATHS[number % len(PATHS) :] + PATHS[: number % len(PATHS)])
    while not over.is_set():
        path = next(paths)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            length = len(answer.read())
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{path}: {error!r}")
            return
        if answer.status != 200:
            failures.append(f"{path}: {answer.status}")
            return
        answers.append(length)
    connection.close()


def follow(port, over, failures):
    """Reads one stream. The daemon ends it early if it finds the reader too slow."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as stream:
        stream.sendall(b"GET /events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        if not stream.recv(12) == b"HTTP/1.1 200":
            failures.append("/events is refused")
            return
        stream.settimeout(1)
        while not over.is_set():
            # Nothing for a second.
            with suppress(TimeoutError):
                if not stream.recv(1 << 16):
                    failures.append("/events has ended")
                    return


def load_rows(who, rss, load):
    growth = load.peaks[1] / load.peaks[0]
    asking = f"{CLIENTS} clients that ask for {', '.join(f'`{path}`' for path in PATHS)} without a pause, and {STREAMS} streams"
    return [
        Row(
            f"{asking}: the longest turn of the loop, in CPU time of its thread",
            load.turns.show(),
            aim=f"≤ {TURN} ms",
            hit=load.turns.longest <= TURN,
        ),
        Row(
            "the same: the most RSS in the first half of the time, and in the second",
            f"{load.peaks[0]:.0f} MB, {load.peaks[1]:.0f} MB; {sum(load.answers):,} answers",
            ratio=f"{load.peaks[1] / rss:.1f} × RSS without clients",
            aim="does not grow: ≤ 1.1 ×",
            hit=growth <= 1.1,
        ),
    ]


def checks(count, window):
    """HTTP checks every second, of a server that writes down when they come."""
    names = [f"agent-{n}" for n in range(count)]
    what = f"{count:,} agents (`sleep`), each with an HTTP check every second"
    if not installed("nginx"):
        return [Row(what, "nginx is not installed")]
    with LoggingNginx() as server:
        with Daemon([asked(name, server.port) for name in names]) as daemon:
            all_run(daemon, count)
            at_first, observed = turns.so_far(daemon), observe(daemon, server, window)
            longest = turns.between(at_first, turns.so_far(daemon))
        monit = None
        if installed("monit"):
            with CheckingMonit(server.port, names) as peer:
                time.sleep(SETTLE)
                monit = observe(peer, server, window)
    return check_rows(what, count, window, observed, longest, monit)


class Observed(NamedTuple):
    """The checks of one program in a window."""

    used: Used
    count: int
    # The milliseconds from each check of an agent to its next one.
    gaps: Spread

    def per_check(self):
        return f"{self.used.total / self.count * 1e6:.0f} µs"


def observe(subject, server, window):
    before, begin = Used.so_far(subject), time.time()
    time.sleep(window)
    used, end = Used.so_far(subject).since(before), time.time()
    # The server writes its log once a second.
    time.sleep(2)
    times = [[at for at in sorted(some) if begin <= at <= end] for some in server.requests().values()]
    gaps = [(after - before) * 1e3 for some in times for before, after in pairwise(some)]
    return Observed(used, sum(map(len, times)), Spread(gaps))


def check_rows(what, count, window, ours, longest, monit):
    rate, most = ours.count / window, 1_000 * LATE
    of_monit = lambda text: f"monit {text(monit)}" if monit else "monit is not installed"
    return [
        Row(f"{what}: CPU", ours.used.show(window), of_monit(lambda one: f"{one.used.total / window * 100:.2f} %")),
        Row("CPU per check", ours.per_check(), of_monit(Observed.per_check)),
        Row(
            "checks per second",
            f"{rate:,.1f}",
            of_monit(lambda one: f"{one.count / window:,.1f}"),
            aim=f"{count:,} ± 1 %",
            hit=abs(rate / count - 1) <= 0.01,
        ),
        Row(
            "from one check of an agent to its next one",
            ours.gaps.show_tail("ms", 0),
            of_monit(lambda one: one.gaps.show_tail("ms", 0)),
            aim=f"p99 ≤ {most:,.0f} ms",
            hit=ours.gaps.percentile(99) <= most,
        ),
        Row(
            "the longest turn of the loop meanwhile, in CPU time of its thread",
            longest.show(),
            aim=f"≤ {TURN} ms",
            hit=longest.longest <= TURN,
        ),
        Row(
            "HTTP checks per second with which the loop's thread would be full, computed from that",
            f"{ours.count / ours.used.loop:,.0f}",
        ),
    ]
