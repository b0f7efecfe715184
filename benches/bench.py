#!/usr/bin/env python3
"""Measures what the project promises in numbers, beside what people would pick instead, all in one run.

    benches/bench.py [--short] [--print] [SECTION …]

Needs what `make bench` builds; `make bench ARGS="--short SECTION"` builds it and tries one section. Writes its tables into
docs/PERFORMANCE.md, or prints them with --print, which a run of some sections only, or a short one, does by itself.
A section that fails says so in its place, and the exit code is 1.
"""

import argparse
import os
import resource
import signal
import sys
import time
import traceback

import peers
import report
from rows import at_rest, daemon_fleet, daemon_load, daemon_watch, heartbeat, lives, requests, status_write
from subjects import BIN, sweep

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
# Nothing is built while others are measured.
PROGRAMS = ("agent", "daemon", "hotpaths", "shipped", "heartbeats")


def main():
    parser = argparse.ArgumentParser(description="Measures what the project promises in numbers.")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="fewer and shorter rounds, to try it out")
    parser.add_argument("--print", action="store_true", help="print, and leave docs/PERFORMANCE.md alone")
    asked = parser.parse_args()
    if lacking := [name for name in PROGRAMS if not (BIN / name).exists()]:
        sys.exit(f"not in {BIN}: {', '.join(lacking)}. `make bench` builds them; with ARGS=\"--short SECTION\" it tries one section")
    # A thousand connections at once are more than many a default allows, here and in the servers.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # As Ctrl-C, so that nothing stays behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = peers.install()
    load_before = os.getloadavg()[0]
    parts, failed = [], []
    for name in asked.sections or SECTIONS:
        begun = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        part, is_whole = section(name, asked.short)
        parts.append(part)
        failed += [] if is_whole else [name]
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    text = "\n".join([report.host(asked.short, missing, load_before), *parts])
    if asked.print or asked.short or asked.sections:
        print(text)
    else:
        report.write(text)
        print(f"written to {report.DOCUMENT}", file=sys.stderr)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def section(name, short):
    """Its text, and whether it is one with numbers. Either way, nothing that it has started is left."""
    try:
        return SECTIONS[name].measure(short), True
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        return f"### {name}\n\n**Not measured**: {first_line}\n", False
    finally:
        sweep()


if __name__ == "__main__":
    main()
