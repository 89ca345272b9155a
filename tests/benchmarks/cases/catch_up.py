"""What iris takes to land 1 GB that a container wrote while it was away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.engine_host import EngineHost
from tests.benchmarks.results import CaseResult, Table

if TYPE_CHECKING:
    from pathlib import Path

_BYTES: Final = 1_000_000_000
_FIRST: Final = 100_000
_WORDS: Final = (
    "step loss 2.1234 tokens/s 51234.56 " * 5 + "grad norm 0.9876"
)  # with its number and the engine's stamp: 230 bytes
_LANDED_BYTES: Final = 230
_TEXT: Final = f"""\
iris has landed {_FIRST:,} lines of a container and is gone; the container writes 1 GB more; iris is started on what it left behind. It
finds the end of what it landed in ever larger parts of the log's end, then in the whole log, as after a drop of the connection. For
comparison, curl reads the whole log on the host."""


def run(directory: Path) -> CaseResult:
    """Measure it: about three minutes."""
    rest = _BYTES // _LANDED_BYTES
    landed = directory / "landed"
    landed.mkdir()
    with EngineHost(directory) as host:
        host.write_in_two_parts("writer", _FIRST, rest, _WORDS)
        host.by("iris-land", "writer", lines=_FIRST, directory=landed)
        before = (landed / "0").stat().st_size
        host.write_rest("writer")
        figures = host.by("iris-land", "writer", lines=rest, directory=landed)
        more = (landed / "0").stat().st_size - before
        with (landed / "0").open("rb") as file:
            count = sum(1 for _ in file)
        if count != _FIRST + rest:
            raise RuntimeError(f"{count} lines landed instead of {_FIRST + rest}")
        curl = host.by_curl("writer")
    row = [
        f"{more / 1e9:.2f}",
        f"{rest:,}",
        f"{figures.seconds:.1f}",
        f"{more / 1e6 / figures.seconds:.0f}",
        f"{figures.peak_mb:.0f}",
        f"{curl.seconds:.1f}",
        f"{curl.seconds / figures.seconds:.2f}",
    ]
    columns = ["GB", "lines", "landed after, s", "MB/s", "peak memory, MB", "curl, s", "iris's share of curl's rate"]
    return CaseResult(
        title="Catching up with 1 GB",
        text=_TEXT,
        tables=[Table(columns, [row])],
        ratios={"rate, curl on the host": curl.seconds / figures.seconds},
    )
