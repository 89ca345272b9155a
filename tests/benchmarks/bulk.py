"""Full-speed streams, measured: one way beside the other, in turns."""

from __future__ import annotations

import getpass
import hashlib
import json
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from tests.benchmarks.clients.bulk import BulkFigures, BulkTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.support.sshd import Sshd

_MOST_SECONDS = 600


def run_bulk(way: str, task: BulkTask) -> BulkFigures:
    """Have a process of its own land it.

    Raises:
        RuntimeError: it did not.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.clients.bulk", way, task.as_argument()],
        check=False,
        stdout=subprocess.PIPE,
        timeout=_MOST_SECONDS,
    )
    if done.returncode:
        raise RuntimeError(f"{way} failed")
    return BulkFigures(**json.loads(done.stdout))


def in_turns(ways: Iterable[str], rounds: int, run: Callable[[str], BulkFigures]) -> dict[str, BulkFigures]:
    """The fastest of some rounds for each way; in each round every way has its turn."""
    ways = list(ways)
    best: dict[str, BulkFigures] = {}
    for _ in range(rounds):
        for way in ways:
            figures = run(way)
            if way not in best or figures.seconds < best[way].seconds:
                best[way] = figures
    return best


def make_lines(path: Path, mebibytes: int) -> str:
    """A file of log-like lines; returns its SHA-256."""
    block = b"".join(
        b"2026-01-01T00:00:%02d.%09dZ step %d loss 2.%06d tokens/s 51234.%02d a line of a log like any other\n"
        % (number // 500, number * 2_000_003 % 1_000_000_000, number, number * 7919 % 1_000_000, number % 100)
        for number in range(10_000)
    )
    block = (block * (1 + (1 << 20) // len(block)))[: 1 << 20]
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(block)
            digest.update(block)
    return digest.hexdigest()


def through_sshd(way: str, sshd: Sshd, source: Path, sha256: str, streams: int = 1) -> BulkFigures:
    """Have a file landed through a real sshd, so many times at once, and see that every byte came.

    Raises:
        RuntimeError: something else came.
    """
    with tempfile.TemporaryDirectory(dir=source.parent) as directory:
        task = BulkTask(
            address=sshd.address,
            port=sshd.port,
            user=getpass.getuser(),
            key_file=str(sshd.user_key),
            host_key=" ".join(sshd.host_key_line.split()[:2]),
            argv=[["cat", str(source)]] * streams,
            containers=[],
            lines=0,
            directory=directory,
        )
        figures = run_bulk(way, task)
        for number in range(streams):
            with task.path(number).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise RuntimeError(f"{way}: what landed is not what was sent")
        return figures
