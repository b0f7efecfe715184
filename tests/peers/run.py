"""Agent and daemon with monit, the Nagios plugins and logrotate, side by side. Called by .ci/peers.

    run.py PROGRAMS [PART …]

PROGRAMS is the directory of the built programs. A part whose tool is not installed is skipped, with a message.
"""

import concurrent.futures
import os
import pathlib
import shutil
import signal
import sys
import time
import traceback

import logrotate
import monit
import nagios
from support import ending

PARTS = {"monit": monit, "nagios": nagios, "logrotate": logrotate}

# Debian's places that are not in every user's PATH.
PLACES = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/lib/nagios/plugins"])


def tools(part):
    """The paths of the tools that a part needs, or nothing if one is missing."""
    found = {name: shutil.which(name, path=PLACES) for name in part.NEEDS}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        print(f"skipped: {', '.join(missing)} is not installed")
    return None if missing else found


def run(name, part, programs, found):
    begin = time.monotonic()
    try:
        part.run(programs, found)
    except Exception:
        # The other parts would only delay the report.
        ending.set()
        print(f"FAILED  {name}\n{traceback.format_exc()}")
        return False
    print(f"ok      {name} ({time.monotonic() - begin:.0f} s)")
    return True


def main():
    programs, *names = sys.argv[1:]
    os.umask(0o022)
    sys.stdout.reconfigure(line_buffering=True)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.set())
    chosen = [(name, part, tools(part)) for name, part in PARTS.items() if not names or name in names]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(run, name, part, pathlib.Path(programs), found) for name, part, found in chosen if found]
        results = [each.result() for each in runs]
    sys.exit(not all(results))


main()
