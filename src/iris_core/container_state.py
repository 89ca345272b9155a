"""What a Docker engine says of containers: values of its JSON. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from iris_core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KNOWN_OPTIONS: Final = frozenset(
    {"max-size", "max-file", "mode", "max-buffer-size"}
)  # others make entries longer, or compress them
_SIZE: Final = re.compile(r"(\d{1,18})([kKmMgGtT]?)[bB]?")  # decimal units (docker/go-units, FromHumanSize)
_COUNT: Final = re.compile(r"\d{1,18}")
_ID: Final = re.compile(r"[0-9A-Za-z_.-]+")  # 64 hexadecimal digits, as a rule


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What `inspect` says that matters to the capture of a log.

    Attributes:
        id: the container's id: another one after it was re-created under the same name.
        running: whether it runs (also while paused or restarting).
        started_at: the engine's text for its last start; another one after a restart.
        finished_at: the engine's text for its last end.
        exit_code: of its last end.
        oom_killed: whether the kernel ended it for want of memory.
        tty: whether it has a terminal: its log then has one stream and no frames.
        log_driver: the name of its log driver.
        can_rotate: whether its log may be rotated away while it is read.
        json_file: the path on the host of the one file, of the driver json-file, that its log is in for ever; empty where there is no such.
        kept_bytes: how long the engine's log files of it are together at least, where something of it has been rotated away; 0 where that
            is not known. Only where `can_rotate`.
    """

    id: str
    running: bool
    started_at: str
    finished_at: str
    exit_code: int
    oom_killed: bool
    tty: bool
    log_driver: str
    can_rotate: bool
    kept_bytes: int
    json_file: str

    @property
    def was_started(self) -> bool:
        """Whether it ever ran; the engine gives Go's zero time for one that was only created."""
        return not self.started_at.startswith("0001-")

    @classmethod
    def from_json(cls, value: object) -> ContainerState:
        """Read the answer to `inspect`.

        Raises:
            EngineError: it lacks what must be there.
        """
        match value:
            case {
                "Id": str(container_id),
                "State": {
                    "Status": str(status),
                    "StartedAt": str(started_at),
                    "FinishedAt": str(finished_at),
                    "ExitCode": int(exit_code),
                    "OOMKilled": bool(oom_killed),
                },
                "Config": {"Tty": bool(tty)},
                "HostConfig": {"LogConfig": {"Type": str(driver), "Config": dict() | None as options}},
            } if _ID.fullmatch(container_id):
                pass
            case _:
                raise EngineError(
                    "The Docker engine's answer to inspect lacks Id, State, Config or HostConfig.LogConfig"
                )
        # Without max-size a json-file log is one file for ever; every other driver rotates, or is not known not to.
        can_rotate = driver != "json-file" or "max-size" in (options or {})
        return cls(
            id=container_id,
            running=status in {"running", "paused", "restarting"},
            started_at=started_at,
            finished_at=finished_at,
            exit_code=exit_code,
            oom_killed=oom_killed,
            tty=tty,
            log_driver=driver,
            can_rotate=can_rotate,
            kept_bytes=_kept_bytes(driver, options or {}),
            json_file="" if can_rotate else _json_file(container_id, value),
        )


def _json_file(container_id: str, value: object) -> str:
    """Where the engine says that the log is, if that can be: `/var/lib/docker/containers/ID/ID-json.log`, most often."""
    match value:
        case {"LogPath": str(path)} if path.startswith("/"):
            return path if path.endswith(f"/containers/{container_id}/{container_id}-json.log") else ""
    return ""


def _kept_bytes(driver: str, options: Mapping[str, object]) -> int:
    """By moby's daemon/logger/loggerutils: a file is put aside once it has `max-size`, and the oldest of `max-file` is removed then."""
    if driver != "json-file" or not _KNOWN_OPTIONS.issuperset(options):
        return 0
    size = _SIZE.fullmatch(str(options.get("max-size", "")))
    count = str(options.get("max-file", "1"))
    if size is None or not _COUNT.fullmatch(count):
        return 0
    unit: int = 1000 ** " kmgt".index(size[2].lower() or " ")
    return (int(count) - 1) * int(size[1]) * unit


def started_again(events: bytes, finished_at: str) -> bool | None:
    """Whether a container was started after that end and before its removal, by the events of its starts, ends and removal.

    Their order tells, for the host's clock may have been set back meanwhile: whatever follows the end. So does their time, for that end
    itself may be forgotten.

    Args:
        events: JSON objects, one a line; the last may be cut.
        finished_at: the engine's text for its end.

    Returns:
        None while the removal is not among them. What cannot be read counts as a start.
    """
    finished = _nanoseconds(finished_at)
    again = started = ended = False
    for line in events.split(b"\n")[:-1]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return True
        match event:
            case {"Action": "destroy"}:
                # The engine remembers the last events: where it knows of a start, it knows of the end after it.
                return again or (started and not ended)
            case {"Action": "start", "timeNano": int(at)}:
                started = True
                again = again or ended or at > finished
            case {"Action": "die", "timeNano": int(at)}:
                ended = ended or at >= finished  # the engine tells of an end when it has noted its time
            case _:
                return True
    return None


def _nanoseconds(text: str) -> int:
    """The engine's text for a time, since 1970; 0 for one that cannot be read."""
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    try:
        whole = int(datetime.fromisoformat(f"{seconds}+00:00").timestamp())
        return whole * 1_000_000_000 + int(f"{fraction:0<9}")
    except ValueError:
        return 0


def names_of(value: object) -> frozenset[str]:
    """The containers' names in the answer to a list.

    Raises:
        EngineError: it lacks what must be there.
    """
    names = []
    for one in value if isinstance(value, list) else [None]:
        match one:
            case {"Names": None}:
                pass  # one that is half removed
            case {"Names": [*aliases]} if all(isinstance(alias, str) for alias in aliases):
                # A name has one slash; `/other/alias` is how a legacy link to another container shows.
                names += [alias[1:] for alias in aliases if alias.count("/") == 1]
            case _:
                raise EngineError("The Docker engine's answer to a list of containers lacks their Names")
    return frozenset(names)
