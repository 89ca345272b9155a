"""The lanes of the fault suite: what is written in each, and what goes wrong there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.integration.faults.lane import Plan
from tests.integration.faults.schedule import FaultKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NETWORK = {
    FaultKind.NET_DROP: 2,
    FaultKind.NET_STALL: 2,
    FaultKind.NET_RESET: 4,
    FaultKind.NET_RESET_MID_FRAME: 6,
    FaultKind.NET_REFUSE: 1,
    FaultKind.NET_SLOW: 2,
    FaultKind.NET_HALF_OPEN: 2,
    FaultKind.SSHD_FREEZE: 1,
    FaultKind.SSHD_KILL: 4,
}
_IRIS = {FaultKind.IRIS_KILL: 8, FaultKind.IRIS_STOP: 1, FaultKind.IRIS_SUSPEND: 1}
_CONTAINER = {
    FaultKind.CONTAINER_RESTART: 5,
    FaultKind.CONTAINER_STOP_START: 4,
    FaultKind.CONTAINER_KILL: 4,
    FaultKind.CONTAINER_RECREATE: 5,
    FaultKind.CONTAINER_PAUSE: 2,
}
_ENGINE = {FaultKind.ENGINE_TERM: 5, FaultKind.ENGINE_KILL: 5}
_DISK = {FaultKind.DISK_FULL: 10}


@dataclass(frozen=True, slots=True)
class _Lane:
    writers: Sequence[str]
    weights: Mapping[FaultKind, int]
    live_restore: bool = False
    use_sudo: bool = False
    plenty_bytes: int | None = None


_LANES: Mapping[str, _Lane] = MappingProxyType(
    {
        "network": _Lane(("paced", "progress", "strange", "long"), _NETWORK | _IRIS, use_sudo=True),
        "rotation": _Lane(
            ("paced-1m", "bursts-1m", "bursts-10m", "long-10m", "progress-1m", "endless-1m"), _NETWORK | _IRIS
        ),
        "files": _Lane(
            ("torrent", "paced", "bursts", "progress", "strange", "long"),
            _NETWORK | _IRIS | {FaultKind.CONTAINER_RECREATE: 2, FaultKind.ENGINE_KILL: 2},
            plenty_bytes=20_000,
        ),
        "files-lives": _Lane(
            ("paced", "crashing", "torrent", "strange"),
            _CONTAINER | _ENGINE | _DISK | _IRIS | {FaultKind.NET_RESET_MID_FRAME: 4},
            live_restore=True,
            use_sudo=True,
            plenty_bytes=4000,
        ),
        "lives": _Lane(
            ("paced", "paced-1m", "crashing", "crashing-1m", "strange", "bursts-1m"),
            _CONTAINER | _IRIS | {FaultKind.NET_RESET: 4},
        ),
        "engine": _Lane(
            ("paced", "paced-1m", "progress", "crashing"), _ENGINE | _IRIS | {FaultKind.NET_RESET_MID_FRAME: 4}
        ),
        "engine-live-restore": _Lane(
            ("paced", "bursts-1m", "strange-1m", "long"),
            _ENGINE | _IRIS | {FaultKind.SSHD_KILL: 4},
            live_restore=True,
            use_sudo=True,
        ),
        "disk": _Lane(
            ("paced", "paced-1m", "strange", "progress"), _DISK | _IRIS | {FaultKind.NET_RESET: 4}, use_sudo=True
        ),
        "everything": _Lane(
            ("paced-1m", "bursts", "strange-1m", "progress", "crashing"),
            _NETWORK | _IRIS | _CONTAINER | _ENGINE | _DISK,
            live_restore=True,
        ),
    }
)


def lane_names() -> list[str]:
    """The lanes there are."""
    return list(_LANES)


def plan(lane: str, *, seed: int, faults: int, longest_wait: float = 1.0, engine: str = "") -> Plan:
    """The plan of one lane.

    Args:
        lane: one of `lane_names`.
        seed: of its schedule.
        faults: how many.
        longest_wait: between two faults, in seconds.
        engine: see `Plan`.
    """
    one = _LANES[lane]
    return Plan(
        name=lane + ("-2" if engine else ""),
        seed=seed,
        faults=faults,
        writers=one.writers,
        weights=one.weights,
        live_restore=one.live_restore,
        use_sudo=one.use_sudo,
        longest_wait=longest_wait,
        plenty_bytes=one.plenty_bytes,
        engine=engine,
    )
