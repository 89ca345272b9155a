"""`python -m tests.benchmarks.resume [GIGABYTES]`: what it takes to resume a landed file of 5 GB (or so many): seconds and memory.

The file is real lines over and over, and its end is where a container's log went on in a fake engine while iris was dead. Measured from
opening the file to the moment when the missed lines have landed after it.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from iris_adapters.fakes import FakeClock, FakeDockerEngine, FakeShell, make_host
from iris_core.log_file import LandedFile
from iris_core.log_paths import events_path
from iris_core.log_pump import LogPump

if TYPE_CHECKING:
    from iris_adapters.fakes import FakeContainer

_BLOCK_LINES: Final = 10_000
_BEFORE, _AFTER = 1000, 500  # lines that the engine still holds: those before iris died, and those after


class Resumed(NamedTuple):
    """What it took.

    Attributes:
        gigabytes: the size of the file.
        seconds: from opening it to the last missed line's landing.
        more_mib: by how much the process's largest memory grew meanwhile.
    """

    gigabytes: float
    seconds: float
    more_mib: float


def measure(directory: Path, gigabytes: float) -> Resumed:
    """Make a file of so many GB in an empty directory, and resume it."""
    engine = FakeDockerEngine()
    container = engine.create("boss")
    for number in range(_BEFORE):
        container.write(b"line %d of a log like any other, some eighty bytes long, no more and no less\n" % number)
    path = directory / "controller-logs.txt"
    _make_file(path, container, int(gigabytes * 1e9))
    size = path.stat().st_size
    for number in range(_AFTER):
        container.write(b"missed %d\n" % number)

    shell, clock = FakeShell(starts=[engine.script()]), FakeClock()
    before = _largest_mib()
    began = time.perf_counter()
    file = LandedFile(path)
    pump = LogPump(shell, clock, lambda _event: None, jitter=lambda: 0.5)
    slot = pump.add("controller-logs", make_host("boss"), "boss", file, use_sudo=True)
    while slot.lines_landed < _AFTER:
        if (wait := pump.step()) is not None:
            clock.advance(wait)
    seconds = time.perf_counter() - began
    more = _largest_mib() - before
    with path.open("rb") as landed:
        landed.seek(size)
        assert landed.read() == b"".join(entry.landed for entry in container.written[_BEFORE:])
    file.close()
    return Resumed(size / 1e9, seconds, more)


def _make_file(path: Path, container: FakeContainer, size: int) -> None:
    block = b"".join(entry.landed for entry in container.written) * (_BLOCK_LINES // _BEFORE)
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(block)
        for entry in container.written:
            file.write(entry.landed)
    record = {
        "event": "started",
        "container": container.id,
        "from": 0,
        "started_at": container.started_at,
        "instance": "",
        "offset": 0,
    }
    events_path(path).write_text(json.dumps(record) + "\n", encoding="utf-8")


def _largest_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, and say what came of it."""
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    with tempfile.TemporaryDirectory(prefix="iris-resume-") as directory:
        one = measure(Path(directory), gigabytes)
    sys.stdout.write(
        f"{one.gigabytes:.2f} GB resumed in {one.seconds * 1000:.0f} ms, with {one.more_mib:.1f} MiB more memory\n"
    )


if __name__ == "__main__":
    main()
