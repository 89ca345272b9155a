"""A resume costs the same whatever the size of the landed file: the small form of `tests/benchmarks/resume.py`, which takes 5 GB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.resume import measure

if TYPE_CHECKING:
    from pathlib import Path


def test_a_large_landed_file_is_resumed_at_once(tmp_path: Path) -> None:
    """Half a gigabyte in under a second, in a few megabytes of memory."""
    one = measure(tmp_path, 0.5)
    (tmp_path / "controller-logs.txt").unlink()  # pytest keeps the directory
    assert one.gigabytes >= 0.5
    assert one.seconds < 1
    assert one.more_mib < 32
