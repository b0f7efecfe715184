#!/usr/bin/env python3
"""Measures what the project promises in numbers, beside what people would pick instead, all in one run.

    benches/bench.py [--short] [--print] [SECTION …]

Needs a release build (`make bench` makes one). Writes its tables into docs/PERFORMANCE.md, or prints them with --print,
which a run of some sections only, or a short one, does by itself.
"""

import argparse
import sys
import time

import peers
import report
from rows import at_rest, daemon_fleet, daemon_load, daemon_watch, heartbeat, lives, requests, status_write
from subjects import BIN

SECTIONS = {
    "at_rest": at_rest,
    "lives": lives,
    "requests": requests,
    "status_write": status_write,
    "heartbeat": heartbeat,
    "daemon_load": daemon_load,
    "daemon_fleet": daemon_fleet,
    "daemon_watch": daemon_watch,
}


def main():
    parser = argparse.ArgumentParser(description="Measures what the project promises in numbers.")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="fewer and shorter rounds, to try it out")
    parser.add_argument("--print", action="store_true", help="print, and leave docs/PERFORMANCE.md alone")
    asked = parser.parse_args()
    if not (BIN / "agent").exists():
        sys.exit("no release build: run `make build` first")
    missing = peers.install()
    parts = [report.host(asked.short, missing)]
    for name in asked.sections or SECTIONS:
        begun = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        parts.append(SECTIONS[name].measure(asked.short))
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    text = "\n".join(parts)
    if asked.print or asked.short or asked.sections:
        print(text)
    else:
        report.write(text)
        print(f"written to {report.DOCUMENT}", file=sys.stderr)


if __name__ == "__main__":
    main()
