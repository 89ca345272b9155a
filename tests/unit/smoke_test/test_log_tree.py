"""`LogTree`: a directory of artifacts that says what they are."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from iris_adapters.smoke_test.log_tree import Artifact, LogTree
from iris_core.errors import LogFileError

if TYPE_CHECKING:
    from pathlib import Path


def test_announced_files_that_exist_are_listed_in_order(tmp_path: Path) -> None:
    """The index holds what is really there, in the order of the announcements."""
    tree = LogTree(tmp_path / "run")
    tree.file("jobs/one.txt", "the first job").write_text("hello")
    tree.file("never-written.txt", "nothing")
    tree.directory("scheduling", "empty").joinpath("a.json").touch()
    tree.directory("empty", "nothing")
    assert tree.artifacts() == (Artifact("jobs/one.txt", "the first job"), Artifact("scheduling/", "empty"))
    assert tree.index().splitlines()[2:] == [
        "| [jobs/one.txt](jobs/one.txt) | the first job |",
        "| [scheduling/](scheduling/) | empty |",
    ]


def test_the_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Logs may hold secrets, so nobody else gets to read the new directory."""
    tree = LogTree(tmp_path / "a" / "run")
    assert stat.S_IMODE(tree.root.stat().st_mode) == 0o700


def test_an_empty_directory_that_exists_will_do(tmp_path: Path) -> None:
    """`mktemp -d` can be handed over."""
    assert LogTree(tmp_path).root == tmp_path


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """Two runs are never mixed, and nothing is overwritten."""
    (tmp_path / "summary.md").write_text("an earlier run")
    with pytest.raises(LogFileError, match="not empty"):
        LogTree(tmp_path)
    assert (tmp_path / "summary.md").read_text() == "an earlier run"


def test_a_place_that_cannot_be_a_directory_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A file in the way is told, and not a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(LogFileError, match="file/run cannot be"):
        LogTree(tmp_path / "file" / "run")
    tree = LogTree(tmp_path / "run")
    (tree.root / "jobs").touch()
    with pytest.raises(LogFileError, match="jobs cannot be created"):
        tree.file("jobs/one.txt", "")
