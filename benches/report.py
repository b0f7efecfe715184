"""What comes out: rows with an aim and a verdict, and the generated part of docs/PERFORMANCE.md."""

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
    """One promise: what was measured, beside which peers, and whether it holds."""

    what: str
    here: str
    beside: str = "–"
    ratio: str = "–"
    aim: str = "–"
    # None: there is no aim, or no peer to compare with.
    hit: bool | None = None
    # What is in the way, where the aim is missed.
    limit: str = ""

    def cells(self):
        unknown = "–" if self.aim == "–" else "not measured"
        verdict = {None: unknown, True: "hit", False: f"**missed**: {self.limit}" if self.limit else "**missed**"}[self.hit]
        return [self.what, self.here, self.beside, self.ratio, self.aim, verdict]


class Spread:
    """Several readings of the same."""

    def __init__(self, values):
        self.values = sorted(values)
        self.median = statistics.median(self.values)

    def show(self, unit, digits=1):
        low, high = self.values[0], self.values[-1]
        text = f"{self.median:,.{digits}f}"
        if len(self.values) > 1:
            text += f" ({low:,.{digits}f}–{high:,.{digits}f})"
        return f"{text} {unit}".strip()


def interleaved(rounds, kinds):
    """Calls everybody in `kinds` in turn, `rounds` times: what disturbs the machine disturbs all of them alike."""
    readings = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, measure in kinds.items():
            readings[name].append(measure())
    return readings


def beside(others, unit, digits=1):
    """The others' readings in one cell."""
    return "; ".join(f"{name} {spread.show(unit, digits)}" for name, spread in others.items()) or "none is installed"


def against(ours, others, most, aim):
    """Ratio to the lowest of the others, and whether it is at most `most`."""
    if not others:
        return {"aim": aim}
    name, best = min(others.items(), key=lambda other: other[1].median)
    ratio = ours.median / best.median if best.median else float("inf")
    return {"ratio": f"{ratio:.2f} × {name}", "aim": aim, "hit": ratio <= most}


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def rows_as_markdown(rows):
    return table(["what", "here", "beside", "ratio", "aim", ""], [row.cells() for row in rows])


def host(short, missing, load_before):
    """On what all this was measured."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    lines = [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {model.group(1) if model else platform.machine()}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, load average {load_before:.1f} before and {os.getloadavg()[0]:.1f} after "
        f"(its own included). Commit {commit()}; status files on {file_system(tempfile.gettempdir())}.",
        f"Beside it: {', '.join(peers.versions()) or 'no peer of a known version'}.",
    ]
    if short:
        lines.append("**A short run: fewer and shorter rounds, for trying out.**")
    if missing:
        lines.append(f"Not installed, and so not beside: {', '.join(missing)}.")
    return "\n".join(lines) + "\n"


def said(*command):
    """What a command prints; nothing if it fails or is not there."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def commit():
    changed = said("git", "status", "--porcelain", "--untracked-files=no")
    return (said("git", "rev-parse", "--short", "HEAD") or "unknown") + (", with changes" if changed else "")


def file_system(directory):
    return (said("df", "--output=fstype", directory).split() or ["an unknown file system"])[-1]


def write(text):
    """Puts `text` between the markers of the document. What is around them is written by hand."""
    document = DOCUMENT.read_text()
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{wrapped(text)}\n{END}{after}")


def wrapped(text):
    """Wraps prose at 100 columns, as in all documents. Rows of tables stay whole."""
    fold = lambda line: textwrap.fill(line, 100, break_long_words=False, break_on_hyphens=False)
    return "\n".join(line if line.startswith("|") else fold(line) for line in text.split("\n"))
