"""Where the CPU goes in the hottest cases, as py-spy samples it: `just bench-profile`."""

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
_SECONDS: Final = 60
_LINES: Final = 800_000
_ROWS: Final = 14
_WAITS: Final = frozenset({"Condition.wait", "EpollSelector.select", "Reactor._gather", "sigwait"})
_LANDING: Final = frozenset({"log_file.py", "landing.py"})
_PARTS: Final = {  # by directory
    "ssh": "iris's SSH: reading, decrypting, channels",
    "paramiko": "Paramiko: login, key exchange",
    "cryptography": "cryptography, beside what is called of it in C",
    "iris_core": "reading the engine's answers, finding the place",
    "iris_adapters": "other adapters",
}
_TEXT: Final = f"""\
Samples of the iris process by py-spy, 200 a second, over {_SECONDS} s of {_STREAMS:,} quiet streams, twice, and over the landing of
{_LINES:,} lines of one container. Threads that wait are left out, and so are samples that end in
{", ".join(f"`{name}`" for name in sorted(_WAITS))}, which py-spy does not always
know for waiting. A share is that of all others; a function's own time includes what it calls in C (encryption, sockets). Of N samples, a
share of p is uncertain by the root of p/N."""


def run(directory: Path) -> CaseResult:
    """Sample all three: about four minutes."""
    py_spy = shutil.which("py-spy")
    if py_spy is None:
        raise SystemExit("py-spy is not installed: run `just bench-profile`, which brings it along")
    for name in ("streams", "rotating", "container"):
        (directory / name).mkdir()
    quiet = _quiet(py_spy, directory / "streams", rotates=False)
    rotating = _quiet(py_spy, directory / "rotating", rotates=True)
    container = _container(py_spy, directory / "container")
    return CaseResult(
        title="What dominates",
        text=_TEXT,
        tables=[
            *_tables(f"{_STREAMS:,} quiet streams", quiet),
            *_tables(f"{_STREAMS:,} quiet streams of logs that may rotate", rotating),
            *_tables("One container at full speed", container),
        ],
        ran="just bench-profile",
    )


def _quiet(py_spy: str, directory: Path, *, rotates: bool) -> list[str]:
    samples = directory / "samples"
    with landing_quiet_streams(_STREAMS, directory, rotates=rotates) as running:
        _sample(py_spy, samples, f"--pid={running.pid}", f"--duration={_SECONDS}")
    return samples.read_text().splitlines()


def _container(py_spy: str, directory: Path) -> list[str]:
    samples, landed = directory / "samples", directory / "landed"
    landed.mkdir()
    with EngineHost(directory) as host:
        host.write("one", lines=_LINES)
        task = host.task("one", lines=_LINES, directory=landed)
        module = [sys.executable, "-m", "tests.benchmarks.clients.bulk", "iris-land", task.as_argument()]
        _sample(py_spy, samples, "--", *module)
    return samples.read_text().splitlines()


def _sample(py_spy: str, samples: Path, *what: str) -> None:
    argv = [py_spy, "record", "--format=raw", "--rate=200", f"--output={samples}", *what]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _tables(what: str, stacks: Iterable[str]) -> list[Table]:
    """Of lines `outer;…;inner (file.py:12) COUNT`: by part of iris, and by function."""
    parts: Counter[str] = Counter()
    own: Counter[str] = Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        function, _, place = frames.rpartition(";")[2].partition(" (")
        if function and function not in _WAITS:
            path = Path(place.partition(":")[0])
            own[f"`{function}` ({path.name})"] += int(count)
            parts[_part_of(path)] += int(count)
    total = own.total()
    return [
        Table([f"share of {total:,} samples", "part"], _shares(parts, total), caption=f"{what}, by part:"),
        Table(
            [f"share of {total:,} samples", "function's own time"], _shares(own, total), caption=f"{what}, by function:"
        ),
    ]


def _part_of(path: Path) -> str:
    if path.name in _LANDING:
        return "writing to the landed files"
    for directory, part in _PARTS.items():
        if directory in path.parts:
            return part
    return "Python's own modules, and other libraries"


def _shares(counted: Counter[str], total: int) -> list[list[str]]:
    return [[f"{count / total:.1%}", name] for name, count in counted.most_common(_ROWS)]
