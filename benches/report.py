"""The report: rows with an aim and a result, and the generated part of docs/PERFORMANCE.md."""

import math
import os
import platform
import re
import statistics
import subprocess
import tempfile
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import peers

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs/PERFORMANCE.md"
BEGIN = "<!-- measured: begin, written by `make bench` -->"
END = "<!-- measured: end -->"


@dataclass
class Row:
    """One measurement: the value here, those of the peers, and whether the aim is met."""

    what: str
    here: str
    others: str = "–"
    ratio: str = "–"
    aim: str = "–"
    # None: there is no aim, or no peer for a comparison.
    hit: bool | None = None
    # The reason why the aim is missed.
    limit: str = ""

    def cells(self):
        unknown = "–" if self.aim == "–" else "not measured"
        result = {None: unknown, True: "hit", False: f"**missed**: {self.limit}" if self.limit else "**missed**"}[self.hit]
        return [self.what, self.here, self.others, self.ratio, self.aim, result]


class Spread:
    """Several readings of the same value."""

    def __init__(self, values):
        self.values = sorted(values)
        self.median = statistics.median(self.values)

    def show(self, unit, digits=1):
        low, high = self.values[0], self.values[-1]
        text = f"{self.median:,.{digits}f}"
        if len(self.values) > 1:
            text += f" ({low:,.{digits}f}–{high:,.{digits}f})"
        return f"{text} {unit}".strip()

    def percentile(self, percent):
        """The lowest reading that at least this percentage of the readings do not exceed."""
        return self.values[max(math.ceil(len(self.values) * percent / 100), 1) - 1]

    def show_tail(self, unit, digits=1):
        show = lambda value: f"{value:,.{digits}f}"
        return f"p50 {show(self.median)}, p99 {show(self.percentile(99))}, most {show(self.values[-1])} {unit}"


def interleaved(rounds, kinds):
    """Calls the functions in `kinds` in turn, `rounds` times, so that a disturbance affects all of them."""
    readings = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, measure in kinds.items():
            readings[name].append(measure())
    return readings


def cell(others, unit, digits=1):
    """The readings of the peers in one cell."""
    return "; ".join(f"{name} {spread.show(unit, digits)}" for name, spread in others.items()) or "none is installed"


def compare(ours, others, most, aim):
    """The ratio to the lowest of the peers, and whether it is at most `most`."""
    if not others:
        return {"aim": aim}
    name, best = min(others.items(), key=lambda other: other[1].median)
    ratio = ours.median / best.median if best.median else float("inf")
    return {"ratio": f"{ratio:.2f} × {name}", "aim": aim, "hit": ratio <= most}


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def rows_as_markdown(rows):
    return table(["what", "here", "peers", "ratio", "aim", "result"], [row.cells() for row in rows])


def host(short, missing, load_before):
    """The machine and the versions of a run."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    lines = [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {model.group(1) if model else platform.machine()}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after "
        f"(including this run). Commit {commit()}; status files on {file_system(tempfile.gettempdir())}.",
        f"Peers and tools: {', '.join(peers.versions()) or 'no known versions'}.",
    ]
    if short:
        lines.append("**A short run: fewer and shorter rounds, for a trial.**")
    if missing:
        lines.append(f"Not installed: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


def output(*command):
    """The output of a command. Empty if the command fails or does not exist."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def commit():
    changed = output("git", "status", "--porcelain", "--untracked-files=no")
    return (output("git", "rev-parse", "--short", "HEAD") or "unknown") + (", with changes" if changed else "")


def file_system(directory):
    return (output("df", "--output=fstype", directory).split() or ["an unknown file system"])[-1]


def write(text):
    """Writes `text` between the markers of the document. The text around them is written by hand."""
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{wrapped(text)}\n{END}{after}")


def wrapped(text):
    """Wraps prose at 100 columns, as in all documents. Rows of tables stay whole."""
    fold = lambda line: textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line if line.startswith("|") else fold(line) for line in text.split("\n"))
