"""What it costs while nothing is asked of it: size, memory, threads, descriptors, wake-ups, CPU."""

import os
import sys
import threading
import time

from measure import cpu, descriptors, memory, switches, threads, total_switches
from peers import ALL, present
from report import Row, Spread, against, beside, rows_as_markdown, table
from subjects import BIN, ROOT, Agent, Sink, installed
from wakeups import wake_ups

SETTLE = 30
WINDOW = 60
# How often whoever sends no heartbeat is asked for something instead.
BEAT = 30


def measure(short):
    settle, window, copies = (8, 20, 1) if short else (SETTLE, WINDOW, 3)
    sink = Sink()
    kinds = {"agent": lambda: reporting(sink), **{kind.name: kind for kind in present(ALL)}}
    first = {name: kind() for name, kind in kinds.items()}
    time.sleep(settle)
    rows = sizes() + at_rest(first)
    # The others' copies would share pages with the first ones, so they come after memory was looked at.
    crowd = {name: [first[name], *(kind() for _ in range(copies - 1))] for name, kind in kinds.items()}
    traced = reporting(sink, traced=True) if installed("strace") else None
    time.sleep(settle)
    readings = awake(crowd, window)
    short_life = reporting(sink)
    time.sleep(settle)
    passing = ended_threads(crowd["agent"][0]) - ended_threads(short_life)
    rows += wakefulness(readings, passing, window)
    for subject in (subject for subjects in crowd.values() for subject in subjects):
        if subject.process.returncode is None:
            subject.stop()
    text = rows_as_markdown(rows)
    return f"### At rest\n\n{text}\n{who_wakes(traced, settle, window)}"


def reporting(sink, traced=False):
    """An agent with a daemon, a heartbeat every 30 s and a refresh every 10 s."""
    extra = f"heartbeat: {{ url: '{sink.url}', interval: 30s }}\nstate: {{ refresh: 10s }}\n"
    before = ["strace", "-f", "-ttt", "-T", "-o", "trace"] if traced else []
    return Agent(extra, before=before)


def sizes():
    programs = {"with TLS": (BIN / "agent", 3.5), "without TLS": (ROOT / "target/no-tls/release/agent", 2.5)}
    rows = []
    for how, (path, limit) in programs.items():
        if path.exists():
            size = path.stat().st_size / 1e6
            what, aim = f"binary, stripped, {how}", f"≤ {limit} MB"
            rows.append(Row(what, f"{size:.2f} MB", "Go agent 13 MB (noted, not run)", aim=aim, hit=size <= limit))
    return rows


def at_rest(subjects):
    sizes = {name: memory(subject.pid) for name, subject in subjects.items()}
    ours = sizes.pop("agent")
    rest = {name: Spread([size.rss]) for name, size in sizes.items()}
    exporter = {name: spread for name, spread in rest.items() if name == "node_exporter"}
    pss = {name: Spread([size.pss]) for name, size in sizes.items()}
    count = lambda measure: beside({n: Spread([measure(s.pid)]) for n, s in subjects.items() if n != "agent"}, "", 0)
    agent = subjects["agent"].pid
    return [
        Row(
            "RSS at rest in Running, 30 s after the start",
            f"{ours.rss:.1f} MB, {ours.own:.1f} of it written to",
            beside(rest, "MB"),
            **against(Spread([ours.rss]), exporter, 0.25, "≤ 1/4 of node_exporter"),
            limit="most of it is the program and libc, mapped from their files",
        ),
        Row("PSS, the same", f"{ours.pss:.1f} MB", beside(pss, "MB"), aim="≤ 2.5 MB", hit=ours.pss <= 2.5),
        Row("threads", str(threads(agent)), count(threads), aim="2", hit=threads(agent) <= 2),
        Row("descriptors", str(descriptors(agent)), count(descriptors)),
    ]


def awake(crowd, window):
    """Switches and milliseconds of CPU of each in the window, of threads that are there at both ends of it."""
    everybody = [(name, subject) for name, subjects in crowd.items() for subject in subjects]
    look = lambda: [(switches(subject.pid), cpu(subject.pid)) for _, subject in everybody]
    before = look()
    over = threading.Event()
    asking = threading.Thread(target=ask, args=([subject for _, subject in everybody], over))
    asking.start()
    time.sleep(window)
    after = look()
    over.set()
    asking.join()
    if not all(subject.is_well() for subject in crowd["agent"]):
        sys.exit(f"an agent is not well: {crowd['agent'][0].said()[-2000:]}")
    readings = {name: [] for name in crowd}
    for (name, _), (old, used), (new, used_by_now) in zip(everybody, before, after):
        woken = sum(count - old.get(tid, 0) for tid, count in new.items())
        readings[name].append((woken, (used_by_now - used) * 1e3))
    return {name: tuple(map(Spread, zip(*values))) for name, values in readings.items()}


def ask(subjects, over):
    while not over.is_set():
        for subject in subjects:
            subject.poke()
        over.wait(BEAT)


def ended_threads(agent):
    """Switches of threads that have come and gone, which only the whole life's account knows; and those of the end."""
    living = sum(switches(agent.pid).values())
    agent.stop()
    return total_switches(agent.usage) - living


def wakefulness(readings, passing, window):
    woken, used = readings.pop("agent")
    total = Spread([value + passing for value in woken.values])
    others = {name: spread for name, (spread, _) in readings.items()}
    cpus = {name: spread for name, (_, spread) in readings.items()}
    alike = {kind.name for kind in ALL if kind.does_as_much}
    lasted, aim = f"{window} s", "≤ 1/8 of the best of them that does as much"

    def beaten(ours, others):
        return against(ours, {name: spread for name, spread in others.items() if name in alike}, 1 / 8, aim)

    return [
        Row(
            f"context switches in {lasted}, threads that come and go included",
            f"{total.show('', 0)}, {woken.median:.0f} of them in the two threads that stay",
            beside(others, "", 0),
            **beaten(total, others),
            limit="most are the disk's, which the others do not wait for: see who wakes for what",
        ),
        Row(
            f"CPU in the same {lasted}",
            used.show("ms"),
            beside(cpus, "ms"),
            **beaten(used, cpus),
            limit="two fsyncs at each refresh, on a thread that comes for them",
        ),
    ]


def who_wakes(traced, settle, window):
    """The account of every wake-up, from a trace of one more agent over as long a time."""
    if traced is None:
        return "Who wakes for what: strace is not installed.\n"
    path = traced.directory / "trace"
    (agent,) = traced.workers()
    end = time.time()
    trace = path.read_text()
    os.kill(agent, 15)
    traced.process.wait()
    counts = wake_ups(trace, agent, end - window)
    rows = [[thread, what, str(count)] for (thread, what), count in sorted(counts.items(), key=lambda item: -item[1])]
    rows.append(["together", "", str(sum(counts.values()))])
    return f"Who wakes for what, in {window} s, as `strace` saw one more such agent:\n\n{table(['thread', 'waited for', 'times'], rows)}"
