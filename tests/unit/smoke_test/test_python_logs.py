"""`landed_python_logs`: what iris logs goes to a file, which belongs to one process and one user."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.smoke_test.python_logs import landed_python_logs
from iris_core.errors import LogFileError, LogFileLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("iris.test")


@pytest.fixture
def umask() -> Iterator[None]:
    """The usual one, whatever the machine's."""
    former = os.umask(0o022)
    yield
    os.umask(former)


@pytest.mark.usefixtures("umask")
def test_the_file_is_this_users_only(tmp_path: Path) -> None:
    """Logs may hold secrets."""
    path = tmp_path / "iris-logs.txt"
    with landed_python_logs(path):
        LOGGER.info("it runs")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().endswith(" INFO iris.test it runs\n")


def test_a_second_one_is_refused(tmp_path: Path) -> None:
    """Their lines would be mixed. Once the first has ended, its file is continued."""
    path = tmp_path / "iris-logs.txt"
    with landed_python_logs(path):
        LOGGER.info("one")
        with pytest.raises(LogFileLockedError, match=r"iris-logs\.txt"), landed_python_logs(path):
            """Not reached."""
        LOGGER.info("two")
    with landed_python_logs(path):
        LOGGER.info("three")
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["one", "two", "three"]


def test_a_full_disk_is_told_once_and_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither while lines come nor at the end."""
    with landed_python_logs(Path("/dev/full")):
        for _ in range(1000):
            LOGGER.info("a line that is lost")
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "/dev/full cannot be written: No space left on device" in err


def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    """Before anything is begun."""
    with pytest.raises(LogFileError, match="absent"), landed_python_logs(tmp_path / "absent" / "iris-logs.txt"):
        """Not reached."""
