"""`python -m tests.benchmarks [CASE…]`: run cases of the benchmark and keep their figures.

docs/performance.md is written from what is kept, once that is all of it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.benchmarks.results import CaseResult, page

_CASES: Final = (
    "quiet",
    "flapping",
    "opening",
    "transport",
    "full_speed",
    "catch_up",
    "discovery",
    "start_up",
)
_LONG_CASES: Final = ("long", "profile")  # only when asked for
_KEPT: Final = Path(".benchmarks")
_PAGE: Final = Path("docs/performance.md")
_PAGE_BEGIN: Final = "<!-- written by `just bench` -->"


def run_case(name: str) -> CaseResult:
    """Run one case in a directory of its own."""
    case = importlib.import_module(f"tests.benchmarks.cases.{name}")
    directory = Path(tempfile.mkdtemp(prefix=f"iris-bench-{name}-"))
    try:
        result: CaseResult = case.run(directory)
    finally:
        shutil.rmtree(directory)
    command = result.ran or f"just bench {name}"
    return replace(result, ran=f"`{command}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine()}.")


def machine() -> str:
    """What it ran on."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    ssh = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr.split(",")[0].strip()
    return (
        f"{os.cpu_count()} cores ({processor}), {memory} GB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {ssh}"
    )


def main() -> None:
    """Run what is asked for, all by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "case", nargs="*", help=f"of {', '.join(_CASES)} (all, by default), or {', '.join(_LONG_CASES)}"
    )
    arguments = parser.parse_args()
    known = (*_CASES, *_LONG_CASES)
    if unknown := sorted(set(arguments.case) - set(known)):
        parser.error(f"there is no case {', '.join(unknown)}: there are {', '.join(known)}")
    for name in arguments.case or _CASES:
        sys.stderr.write(f"{name} …\n")
        result = run_case(name)
        result.save(_KEPT / f"{name}.json")
        sys.stdout.write("\n".join(result.lines()) + "\n")
        for target in result.targets:
            sys.stdout.write(f"{'met' if target.met else 'MISSED'}: {target.promise}: {target.measured}\n")
    _write_page()


def _write_page() -> None:
    """Write the page, unless that would take away what was measured elsewhere."""
    paths = {name: _KEPT / f"{name}.json" for name in (*_CASES, *_LONG_CASES)}
    if missing := [name for name, path in paths.items() if not path.exists()]:
        sys.stderr.write(f"{_PAGE} is left as it is: nothing is kept in {_KEPT} of {', '.join(missing)}\n")
        return
    text = _PAGE.read_text(encoding="utf-8").partition(_PAGE_BEGIN)[0]
    kept = page([CaseResult.load(path) for path in paths.values()])
    _PAGE.write_text(f"{text}{_PAGE_BEGIN}\n\n{kept}", encoding="utf-8")


if __name__ == "__main__":
    main()
