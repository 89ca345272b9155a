"""`python -m tests.lab`: a lab by hand. Prints what to export for gcloud, and runs until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import threading

from tests.lab.lab import Lab
from tests.lab.requirements import explain, missing_for_hosts


def main() -> int:
    """Run a lab; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--ssh-port", type=int, default=22, help="sshd's port on every host (default: 22)")
    parser.add_argument(
        "--creation-seconds", type=float, default=0.0, help="how long VMs and slices take to come (default: 0)"
    )
    arguments = parser.parse_args()
    if missing := missing_for_hosts():
        sys.stderr.write(f"{explain(missing)}\n")
        return 1

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Lab(ssh_port=arguments.ssh_port) as lab:
        lab.cloud.creation_seconds = arguments.creation_seconds
        for name, value in lab.environment.items():
            if os.environ.get(name) != value:
                sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
        sys.stdout.write("# the lab runs; export the lines above in another shell. Ctrl-C ends it and all its hosts.\n")
        sys.stdout.flush()
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
