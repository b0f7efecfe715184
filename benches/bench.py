#!/usr/bin/env python3
"""Measures the agent and the daemon next to comparable programs, all in one run.

    benches/bench.py [--short] [--print] [SECTION …]

Needs what `make bench` builds; `make bench ARGS="--short SECTION"` builds it and tries one section. A whole run writes its
tables into docs/PERFORMANCE.md. A run with --print, a short run and a run of some sections print them instead. If a section
fails, its table is replaced by the error, and the exit code is 1.
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
from rows import at_rest, daemon_fleet, daemon_load, daemon_processes, daemon_scale, daemon_watch, heartbeat, lives, requests, status_write
from subjects import BIN, sweep

SECTIONS = {
    "at_rest": at_rest,
    "lives": lives,
    "requests": requests,
    "status_write": status_write,
    "heartbeat": heartbeat,
    "daemon_load": daemon_load,
    "daemon_fleet": daemon_fleet,
    "daemon_processes": daemon_processes,
    "daemon_watch": daemon_watch,
    "daemon_scale": daemon_scale,
}
# Built before the run, because a build would disturb the measurements.
PROGRAMS = ("agent", "daemon", "hotpaths", "shipped", "heartbeats")


def main():
    parser = argparse.ArgumentParser(description="Measures the agent and the daemon next to comparable programs.")
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--short", action="store_true", help="fewer and shorter rounds, for a trial")
    parser.add_argument("--print", action="store_true", help="print the tables, and do not write docs/PERFORMANCE.md")
    options = parser.parse_args()
    if not_built := [name for name in PROGRAMS if not (BIN / name).exists()]:
        sys.exit(f"not in {BIN}: {', '.join(not_built)}. `make bench` builds them; with ARGS=\"--short SECTION\" it tries one section")
    # A thousand open connections exceed many default limits, here and in the servers.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # The same as Ctrl-C, so that the cleanup runs.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    missing = peers.install()
    load_before = os.getloadavg()[0]
    parts, failed = [], []
    for name in options.sections or SECTIONS:
        started = time.monotonic()
        print(f"{name} …", file=sys.stderr, flush=True)
        part, succeeded = section(name, options.short)
        parts.append(part)
        failed += [] if succeeded else [name]
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    text = "\n".join([report.host(options.short, missing, load_before), *parts])
    if options.print or options.short or options.sections:
        print(text)
    else:
        report.write(text)
        print(f"written to {report.DOCUMENT}", file=sys.stderr)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def section(name, short):
    """Returns its text, and whether it succeeded. Ends all processes that it has started."""
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
