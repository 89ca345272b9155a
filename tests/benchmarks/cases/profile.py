"""Where the CPU goes in the two hottest cases, as py-spy samples it: `just bench-profile`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.engine_host import EngineHost
from tests.benchmarks.results import CaseResult, Table
from tests.benchmarks.streams import landing_quiet_streams

if TYPE_CHECKING:
    from collections.abc import Iterable

_STREAMS: Final = 1000
_SECONDS: Final = 30
_LINES: Final = 800_000
_ROWS: Final = 14
_WAITS: Final = frozenset({"Condition.wait", "EpollSelector.select", "Reactor._gather", "sigwait"})
_TEXT: Final = f"""\
Samples of the iris process by py-spy, 200 a second, over {_SECONDS} s of {_STREAMS:,} quiet streams and over the landing of
{_LINES:,} lines of one container. Threads that wait are left out, and so are samples that end in
{", ".join(f"`{name}`" for name in sorted(_WAITS))}, which py-spy does not always
know for waiting. A share is that of all others; a function's own time includes what it calls in C (encryption, sockets)."""


def run(directory: Path) -> CaseResult:
    """Sample both: less than two minutes."""
    py_spy = shutil.which("py-spy")
    if py_spy is None:
        raise SystemExit("py-spy is not installed: run `just bench-profile`, which brings it along")
    for name in ("streams", "container"):
        (directory / name).mkdir()
    quiet = _quiet(py_spy, directory / "streams")
    container = _container(py_spy, directory / "container")
    columns = ["share", "function's own time"]
    return CaseResult(
        title="What dominates",
        text=_TEXT,
        tables=[
            Table(columns, quiet, caption=f"{_STREAMS:,} quiet streams:"),
            Table(columns, container, caption="One container at full speed:"),
        ],
    )


def _quiet(py_spy: str, directory: Path) -> list[list[str]]:
    samples = directory / "samples"
    with landing_quiet_streams(_STREAMS, directory) as running:
        _sample(py_spy, samples, f"--pid={running.pid}", f"--duration={_SECONDS}")
    return _rows(samples.read_text().splitlines())


def _container(py_spy: str, directory: Path) -> list[list[str]]:
    samples, landed = directory / "samples", directory / "landed"
    landed.mkdir()
    with EngineHost(directory) as host:
        host.write("one", lines=_LINES)
        task = host.task("one", lines=_LINES, directory=landed)
        module = [sys.executable, "-m", "tests.benchmarks.clients.bulk", "iris-land", task.as_argument()]
        _sample(py_spy, samples, "--", *module)
    return _rows(samples.read_text().splitlines())


def _sample(py_spy: str, samples: Path, *what: str) -> None:
    argv = [py_spy, "record", "--format=raw", "--rate=200", f"--output={samples}", *what]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _rows(stacks: Iterable[str]) -> list[list[str]]:
    """Of lines `outer;…;inner (file.py:12) COUNT`."""
    own: Counter[str] = Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        function, _, place = frames.rpartition(";")[2].partition(" (")
        if function and function not in _WAITS:
            own[f"`{function}` ({Path(place.partition(':')[0]).name})"] += int(count)
    total = own.total()
    return [[f"{count / total:.1%}", name] for name, count in own.most_common(_ROWS)]
