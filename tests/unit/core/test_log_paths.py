"""Where logs land: inside the output directory, whatever the cloud and the engine call things."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import make_controller, make_host, make_slice
from iris_core.errors import LogFileError
from iris_core.log_paths import (
    container_path,
    events_path,
    fresh_path,
    host_path,
    make_output_dir,
    make_private,
    open_private,
)
from iris_core.model import HostRole

if TYPE_CHECKING:
    from pathlib import Path

    from iris_core.model import Host

BAD_NAMES = (
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc/passwd",
    "a\0b",
    "a\n",
    "\n",
    "a b",
    ".hidden",
    "-rf",
    "~root",
    "a~2",
    "ü",
    "a\u202eb",
    "\ud800",
    "x" * 201,
    "x" * 100_000,
    "a\\b",
    "CON:",
)
GOOD_NAMES = ("a", "iris-tpu-20260101-w0", "my.app_1-x", "x" * 200, "3", "a..b", "a.txt", "a.events.jsonl")


def worker(name: str) -> Host:
    return make_host(name, role=HostRole.WORKER, address="10.0.0.1")


def test_the_specifications_places(tmp_path: Path) -> None:
    """The controller has a fixed name; workers and other containers have theirs."""
    [host] = make_slice("iris-tpu-1").hosts
    assert host_path(tmp_path, make_controller("other").host) == tmp_path / "controller-logs.txt"
    assert host_path(tmp_path, host) == tmp_path / "workers" / "iris-tpu-1-w0.txt"
    assert container_path(tmp_path, host, "side") == tmp_path / "containers" / "iris-tpu-1-w0" / "side.txt"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    """Names come from the cloud and from whoever may start containers: none leaves the directory, hides, or collides."""
    with pytest.raises(LogFileError, match="cannot be a file's name") as told:
        host_path(tmp_path, worker(name))
    assert len(str(told.value)) < 1000
    with pytest.raises(LogFileError, match="cannot be a file's name"):
        container_path(tmp_path, worker("w"), name)
    with pytest.raises(LogFileError, match="cannot be a file's name"):
        container_path(tmp_path, worker(name), "c")


def test_different_names_land_in_different_files(tmp_path: Path) -> None:
    """No two sources share a landed file or an events file, and no landed file is another one's events file."""
    paths = [host_path(tmp_path, make_controller().host)]
    paths += [host_path(tmp_path, worker(name)) for name in GOOD_NAMES]
    paths += [container_path(tmp_path, worker("w"), name) for name in GOOD_NAMES]
    every = paths + [events_path(path) for path in paths]
    assert len(set(every)) == len(every)
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in every)
    assert all(len(path.name.encode()) <= 255 for path in every)


def test_events_lie_beside_any_landed_file(tmp_path: Path) -> None:
    """A file that the user names need not end in `.txt`."""
    assert events_path(tmp_path / "log.txt") == tmp_path / "log.events.jsonl"
    assert events_path(tmp_path / "log.log") == tmp_path / "log.log.events.jsonl"


def test_fresh_files_stand_beside_what_is_there(tmp_path: Path) -> None:
    """The first number that neither a landed file nor an events file has taken."""
    path = tmp_path / "my.app.txt"
    assert fresh_path(path) == path
    path.write_text("")
    assert fresh_path(path) == tmp_path / "my.app~2.txt"
    (tmp_path / "my.app~2.events.jsonl").write_text("")
    assert fresh_path(path) == tmp_path / "my.app~3.txt"
    path.unlink()
    assert fresh_path(path) == path
    (tmp_path / "elsewhere").write_text("")
    path.symlink_to(tmp_path / "nowhere")
    assert fresh_path(path) == tmp_path / "my.app~3.txt"


def test_missing_directories_are_made_private(tmp_path: Path) -> None:
    """Each that was missing is 0700; one that was there is left as it is."""
    tmp_path.chmod(0o755)
    make_output_dir(tmp_path / "a" / "b")
    make_private(tmp_path / "a" / "b")
    assert [oct(one.stat().st_mode & 0o777) for one in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == [
        "0o755",
        "0o700",
        "0o700",
    ]


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_an_output_directory_that_is_a_file_is_told(tmp_path: Path, below: str) -> None:
    """The error names what cannot be made."""
    (tmp_path / "file").write_text("")
    with pytest.raises(
        LogFileError, match=r"Cannot make the directory .*file.*: there is a file in its place\. Choose another"
    ):
        make_output_dir(tmp_path / "file" / below)


def test_a_private_file_is_this_users_only_and_takes_any_text(tmp_path: Path) -> None:
    """Whatever the umask; the mode of one that is there is left as it is."""
    former = os.umask(0)
    try:
        with open_private(tmp_path / "new.txt", "w") as file:
            file.write("ü \udcff\n")
        with open_private(tmp_path / "new.txt", "a") as file:
            file.write("more\n")
    finally:
        os.umask(former)
    assert (tmp_path / "new.txt").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "new.txt").read_text(encoding="utf-8") == "ü \\udcff\nmore\n"
