"""What it costs while nothing is asked of it: size, memory, threads, descriptors, wake-ups, CPU."""

import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple

from measure import cpu, descriptors, memory, switches, threads, total_switches
from peers import ALL, present
from report import Row, Spread, against, beside, rows_as_markdown, table
from subjects import BIN, ROOT, Agent, Sink, installed
from wakeups import Account

# Not a multiple of the refresh, so that the window begins and ends between two.
SETTLE = 35
WINDOW = 60
COPIES = 3
# How often whoever sends no heartbeat is asked for something instead.
BEAT = 30
# From one look at threads and descriptors to the next: less than a thread stays that has come for one write.
LOOK = 0.2


def measure(short):
    settle, window, copies = (5, 20, 2) if short else (SETTLE, WINDOW, COPIES)
    sink = Sink()
    kinds = {"agent": lambda: reporting(sink), **{kind.name: kind for kind in present(ALL)}}
    with ExitStack() as stage:
        begin = lambda kind: stage.enter_context(kind())
        alone = {name: begin(kind) for name, kind in kinds.items()}
        time.sleep(settle)
        # Copies would share pages with it, so this is of one alone. RSS counts such pages in full.
        pss = {name: memory(subject.pid).pss for name, subject in alone.items()}
        for subject in alone.values():
            subject.stop()
        twins = [begin(kinds["agent"]) for _ in range(copies)]
        crowd = {name: [begin(kind) for _ in range(copies)] for name, kind in kinds.items()}
        watched = begin(kinds["agent"])
        time.sleep(settle)
        sizes = {name: [memory(subject.pid) for subject in subjects] for name, subjects in crowd.items()}
        before = [ended_threads(twin) for twin in twins]
        account = Account(watched.pid, watched.directory) if installed("perf") else None
        seen = watch(crowd, window)
        account = account and account.close()
        passing = [ended_threads(agent) - at_first for agent, at_first in zip(crowd["agent"], before)]
    total = Spread([one.switches + more for one, more in zip(seen["agent"], passing)])
    rows = binaries() + at_rest(sizes, pss, seen) + wakefulness(seen, total, window)
    return f"### At rest\n\n{rows_as_markdown(rows)}\n{who_wakes(account, total, window)}"


def reporting(sink):
    """An agent with a daemon, a heartbeat every 30 s and a refresh every 10 s."""
    return Agent(f"heartbeat: {{ url: '{sink.url}', interval: 30s }}\nstate: {{ refresh: 10s }}\n")


def binaries():
    programs = {"with TLS": (BIN / "agent", 3.5), "without TLS": (ROOT / "target/no-tls/release/agent", 2.5)}
    rows = []
    for how, (path, most) in programs.items():
        size = path.stat().st_size / 1e6 if path.exists() else None
        rows.append(
            Row(
                f"binary, stripped, {how}",
                "not built" if size is None else f"{size:.2f} MB",
                "Go agent 13 MB (noted, not run)",
                aim=f"≤ {most} MB",
                hit=None if size is None else size <= most,
                limit="tide, surf, rustls, the standard library's backtraces: see Size",
            )
        )
    return rows


class Seen(NamedTuple):
    """Of one copy, while it was watched."""

    # Of threads that are there at the end.
    switches: int
    # Milliseconds.
    cpu: float
    # How many looks have found so many.
    threads: Counter
    descriptors: Counter


def watch(crowd, window):
    """What each does in the window."""
    everybody = [(name, subject) for name, subjects in crowd.items() for subject in subjects]
    look = lambda: [(switches(subject.pid), cpu(subject.pid)) for _, subject in everybody]
    looks = [(Counter(), Counter()) for _ in everybody]
    over = threading.Event()
    asking = threading.Thread(target=ask, args=([subject for _, subject in everybody], over))
    end, before = time.monotonic() + window, look()
    asking.start()
    try:
        while time.monotonic() < end:
            for (_, subject), (some_threads, some_descriptors) in zip(everybody, looks):
                some_threads[threads(subject.pid)] += 1
                some_descriptors[descriptors(subject.pid)] += 1
            time.sleep(LOOK)
        after = look()
    finally:
        over.set()
        asking.join()
    if not all(subject.is_well() for subject in crowd["agent"]):
        sys.exit(f"an agent is not well: {crowd['agent'][0].said()[-2000:]}")
    seen = {name: [] for name in crowd}
    for (name, _), (old, used), (new, used_by_now), found in zip(everybody, before, after, looks):
        woken = sum(count - old.get(tid, 0) for tid, count in new.items())
        seen[name].append(Seen(woken, (used_by_now - used) * 1e3, *found))
    return seen


def ask(subjects, over):
    while not over.is_set():
        for subject in subjects:
            subject.poke()
        over.wait(BEAT)


def ended_threads(agent):
    """Switches of threads that have come and gone in a whole life, and those of the end. What two agents that were started
    together differ by, of which one has ended before a time and the other after it, is what came and went in that time."""
    living = sum(switches(agent.pid).values())
    agent.stop()
    return total_switches(agent.usage) - living


def at_rest(sizes, pss, seen):
    rss = {name: Spread([size.rss for size in some]) for name, some in sizes.items()}
    own = Spread([size.own for size in sizes["agent"]])
    shared = {name: Spread([value]) for name, value in pss.items()}
    ours = rss.pop("agent"), shared.pop("agent")
    exporter = lambda spreads: {name: spread for name, spread in spreads.items() if name == "node_exporter"}
    usual = lambda field: {name: usually(getattr(one, field) for one in some) for name, some in seen.items()}
    threads, descriptors = usual("threads"), usual("descriptors")
    return [
        Row(
            "RSS at rest in Running",
            f"{ours[0].show('MB')}, {own.show('')} of it written to",
            beside(rss, "MB"),
            **against(ours[0], exporter(rss), 0.25, "≤ 1/4 of node_exporter"),
            limit="most of it is the program and libc, mapped from their files",
        ),
        Row(
            "PSS, of the first copy, alone",
            ours[1].show("MB"),
            beside(shared, "MB"),
            **against(ours[1], exporter(shared), 1, "") | {"aim": "≤ 2.5 MB", "hit": ours[1].median <= 2.5},
            limit="the program itself, whose pages a single copy shares with no other",
        ),
        Row(
            f"threads, looked at every {LOOK} s",
            f"{told(threads['agent'])}: one comes for each write, and stays for half a second",
            others(threads),
            aim="2",
            hit=threads["agent"][0] <= 2,
        ),
        Row("descriptors, the same", told(descriptors["agent"]), others(descriptors)),
    ]


def usually(counts):
    """The usual number, the highest, and how many looks of a hundred have found more than the usual one."""
    together = sum(counts, Counter())
    usual = together.most_common(1)[0][0]
    more = sum(times for number, times in together.items() if number > usual)
    return usual, max(together), 100 * more / together.total()


def told(number):
    usual, most, more = number
    return f"{usual}" if usual == most else f"{usual} (up to {most} in {more:.1f} % of the looks)"


def others(numbers):
    return "; ".join(f"{name} {told(number)}" for name, number in numbers.items() if name != "agent") or "nobody is installed"


def wakefulness(seen, total, window):
    staying = Spread([one.switches for one in seen["agent"]])
    woken = {name: Spread([one.switches for one in some]) for name, some in seen.items() if name != "agent"}
    used = {name: Spread([one.cpu for one in some]) for name, some in seen.items()}
    ours = used.pop("agent")
    alike = {kind.name for kind in ALL if kind.does_as_much}
    lasted, aim = f"{window} s", "≤ 1/8 of the best of them that does as much"

    def beaten(ours, others):
        return against(ours, {name: spread for name, spread in others.items() if name in alike}, 1 / 8, aim)

    return [
        Row(
            f"context switches in {lasted}, threads that come and go included",
            f"{total.show('', 0)}, {staying.show('', 0)} of them in the two threads that stay",
            beside(woken, "", 0),
            **beaten(total, woken),
            limit="most are the disk's, which the others do not wait for: see who wakes for what",
        ),
        Row(
            f"CPU in the same {lasted}",
            ours.show("ms"),
            beside(used, "ms"),
            **beaten(ours, used),
            limit="two fsyncs at each refresh, on a thread that comes for them",
        ),
    ]


def who_wakes(account, total, window):
    """The account of every switch of one more agent in the window, and whether it is all of them."""
    if not account:
        return "Who wakes for what: perf is not installed, or may not look.\n"
    counts, staying, counted = account
    rows = [[thread, what, str(count)] for (thread, what), count in counts.most_common()]
    rows.append(["together", "", str(counts.total())])
    return (
        f"Who wakes for what: every context switch of one more such agent in {window} s, by the kernel's stack.\n\n"
        f"{table(['thread', 'waited for', 'times'], rows)}\n"
        f"Of the two threads that stay that is {staying}; the kernel counted {counted}. Those without a tracer had {total.show('', 0)} "
        "in all: what differs is how often the disk lets a thread wait within one call, and how often others had their turn.\n"
    )
