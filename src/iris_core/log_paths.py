"""Where each log is landed below an output directory."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, Literal

from iris_core.errors import LogFileError
from iris_core.model import HostRole

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

    from iris_core.model import Host

CONTROLLER_LOG: Final = "controller-logs.txt"
WORKER_LOGS: Final = "workers"
CONTAINER_LOGS: Final = "containers"
HOST_FACTS: Final = "hosts"

# One path component that cannot leave its directory, hide, or be mistaken for something else (Docker's and Google's names fit).
_LONGEST_TOLD: Final = 200
_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


def host_path(output_dir: Path, host: Host) -> Path:
    """Where the log of a host's main container is landed.

    Raises:
        LogFileError: the host's name, which comes from the cloud, cannot be a file's name.
    """
    if host.role is HostRole.CONTROLLER:
        return output_dir / CONTROLLER_LOG
    return output_dir / WORKER_LOGS / f"{_safe(host.name, output_dir)}.txt"


def container_path(output_dir: Path, host: Host, container: str) -> Path:
    """Where the log of a further container of a host is landed.

    Raises:
        LogFileError: a name, which comes from the cloud or the engine, cannot be a file's name.
    """
    return containers_dir(output_dir, host) / f"{_safe(container, output_dir)}.txt"


def containers_dir(output_dir: Path, host: Host) -> Path:
    """Where the logs of a host's further containers are landed.

    Raises:
        LogFileError: the host's name, which comes from the cloud, cannot be a file's name.
    """
    return output_dir / CONTAINER_LOGS / _safe(host.name, output_dir)


def host_facts_dir(output_dir: Path, host: str) -> Path:
    """Where what was asked of a host before it was deleted is.

    Raises:
        LogFileError: the host's name, which comes from the cloud, cannot be a file's name.
    """
    return output_dir / HOST_FACTS / _safe(host, output_dir)


def events_path(path: Path) -> Path:
    """Where the events of a landed file are."""
    return path.with_name(path.name.removesuffix(".txt") + ".events.jsonl")


def fresh_path(path: Path) -> Path:
    """The first of `NAME.txt`, `NAME~2.txt`, `NAME~3.txt` … that is not there yet."""
    candidate, number = path, 1
    while os.path.lexists(candidate) or os.path.lexists(events_path(candidate)):
        number += 1
        candidate = path.with_name(f"{path.stem}~{number}.txt")
    return candidate


def name_of(path: Path) -> str:
    """Of what a file has landed the log, by its path: also of one that was begun beside another."""
    return path.stem.partition("~")[0]


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, each for this user only (0700).

    Raises:
        OSError: it cannot be made.
    """
    if not os.path.isdir(directory):  # noqa: PTH112 - asked for each log, and Path.is_dir takes thrice as long
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, mode: Literal["w", "a"]) -> TextIOWrapper:
    """Open a text file to be written; a new one is for this user only (0600). Any text can be written.

    Raises:
        OSError: it cannot be opened.
    """
    return open(
        path, mode, encoding="utf-8", errors="backslashreplace", opener=lambda name, flags: os.open(name, flags, 0o600)
    )


def _safe(name: str, output_dir: Path) -> str:
    if not _SAFE_NAME.fullmatch(name):
        raise LogFileError(
            f"The name {name[:_LONGEST_TOLD]!r} cannot be a file's name below {output_dir}; nothing is captured for it.",
            path=output_dir,
        )
    return name


def make_output_dir(output_dir: Path) -> None:
    """Make the directory (0700) if it is missing, and see that files can be made in it.

    Raises:
        LogFileError: they cannot.
    """
    try:
        make_private(output_dir)
    except (FileExistsError, NotADirectoryError) as error:
        raise LogFileError(
            f"Cannot make the directory {output_dir}: there is a file in its place. Choose another directory.",
            path=output_dir,
        ) from error
    except OSError as error:
        raise LogFileError(
            f"Cannot make the directory {output_dir}: {error.strerror or error}. Choose another directory.",
            path=output_dir,
        ) from error
    if not os.access(output_dir, os.W_OK | os.X_OK):
        raise LogFileError(
            f"Cannot write in {output_dir}: give access to it, or choose another directory.", path=output_dir
        )
