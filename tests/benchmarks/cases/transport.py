"""SSH alone, without Docker: a file's bytes from a real sshd to the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.bulk import in_turns, make_lines, through_sshd
from tests.benchmarks.results import CaseResult, Table, Target
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.clients.bulk import BulkFigures

_WAYS: Final = ("ssh", "ssh-gcm", "iris", "asyncssh")
NAMES: Final = {
    "ssh": "`ssh` process, its default cipher",
    "ssh-gcm": "`ssh` process, aes128-gcm",
    "iris": "iris's shell",
    "asyncssh": "asyncssh, aes128-gcm",
    "fabric": "Fabric's `run`",
}
_TEXT: Final = """\
`cat FILE` of log-like lines through a real sshd into a file; SHA-256 compared. The fastest of some rounds in which each way has its turn;
connecting is counted. Fabric's `run` gets one megabyte: it copies character by character. With several streams, all go
through one connection (`ssh`: a process each) and "last / first" says how unevenly they end; on one connection it is sshd that decides
whose bytes go first."""


def run(directory: Path, *, mebibytes: int = 512, rounds: int = 4, ways: tuple[str, ...] = _WAYS) -> CaseResult:
    """Measure all of it: about a minute."""
    (directory / "sshd").mkdir()
    source, small, each = directory / "source", directory / "small", directory / "each"
    sha256, small_sha256 = make_lines(source, mebibytes), make_lines(small, 1)
    part = max(1, mebibytes // 8)
    each_sha256 = make_lines(each, part)
    with Sshd(directory / "sshd") as sshd:
        one = in_turns(ways, rounds, lambda way: through_sshd(way, sshd, source, sha256))
        eight = in_turns(("ssh", "iris", "asyncssh"), 2, lambda way: through_sshd(way, sshd, each, each_sha256, 8))
        fabric = through_sshd("fabric", sshd, small, small_sha256)
    rows = [_row(NAMES[way], 1, mebibytes, figures) for way, figures in one.items()]
    rows.append(_row(NAMES["fabric"], 1, 1, fabric))
    rows += [_row(NAMES[way], 8, 8 * part, figures) for way, figures in eight.items()]
    ratio = one["ssh"].seconds / one["iris"].seconds
    return CaseResult(
        title="One stream and eight at full speed, SSH alone",
        text=_TEXT,
        tables=[Table(["way", "streams", "MiB/s", "CPU s per GiB", "peak memory, MB", "last / first to end"], rows)],
        targets=[
            Target(
                "SSH transport alone: at least 1.3 times the `ssh` process with its default cipher",
                f"{ratio:.2f}",
                ratio >= 1.3,
            )
        ],
        ratios={f"rate of one, {NAMES[way]}": one[way].seconds / one["iris"].seconds for way in ways if way != "iris"}
        | {f"rate of eight, {NAMES[way]}": eight[way].seconds / eight["iris"].seconds for way in ("ssh", "asyncssh")},
    )


def _row(name: str, streams: int, mebibytes: int, figures: BulkFigures) -> list[str]:
    return [
        name,
        str(streams),
        f"{mebibytes / figures.seconds:,.1f}",
        f"{figures.cpu_seconds / mebibytes * 1024:,.2f}",
        f"{figures.peak_mb:.0f}",
        f"{figures.ends[-1] / figures.ends[0]:.2f}" if streams > 1 else "",
    ]
