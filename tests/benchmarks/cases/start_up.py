"""How long iris takes to start: `iris --help`, beside Python itself and gcloud, and the smoke test in local mode."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.benchmarks.results import CaseResult, Table, Target

_IRIS: Final = Path(sys.executable).with_name("iris")
_ROUNDS: Final = 7
_TEXT: Final = """\
The middle of some runs, in turns. The smoke test is `iris smoke-test --local`: a cluster in this process, its jobs, logs and
artifacts, once."""


def run(directory: Path) -> CaseResult:
    """Measure it: about half a minute."""
    commands: dict[str, list[str]] = {
        "`iris --help`": [str(_IRIS), "--help"],
        "`iris --version`": [str(_IRIS), "--version"],
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`gcloud --version`": ["gcloud", "--version"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(_ROUNDS):
        for name, argv in commands.items():
            times[name].append(_seconds(argv, directory))
    middle = {name: sorted(values)[_ROUNDS // 2] for name, values in times.items()}
    smoke = _seconds([str(_IRIS), "smoke-test", "--local", "--log-dir", str(directory / "smoke")], directory)
    rows = [[name, f"{seconds * 1000:.0f}"] for name, seconds in middle.items()]
    rows.append(["`iris smoke-test --local`", f"{smoke * 1000:,.0f}"])
    help_seconds = middle["`iris --help`"]
    return CaseResult(
        title="Start-up, and the smoke test",
        text=_TEXT,
        tables=[Table(["command", "ms"], rows)],
        targets=[Target("`iris --help` in at most 300 ms", f"{help_seconds * 1000:.0f} ms", help_seconds <= 0.3)],
        ratios={"start-up, gcloud": middle["`gcloud --version`"] / help_seconds},
    )


def _seconds(argv: list[str], directory: Path) -> float:
    environment = {**os.environ, "HOME": str(directory)}
    began = time.monotonic()
    subprocess.run(
        argv,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    return time.monotonic() - began
