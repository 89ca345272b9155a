"""What is to go wrong, in which order: a random schedule that is the same for the same seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FaultKind(StrEnum):
    """What can be made to go wrong. The first word says where."""

    NET_DROP = "net drop"  # packets vanish, nobody is told
    NET_STALL = "net stall"  # nothing moves, then all of it does
    NET_RESET = "net reset"  # connections are reset
    NET_RESET_MID_FRAME = "net reset mid-frame"  # after a random number of bytes
    NET_REFUSE = "net refuse"  # connections are reset, and new ones too, for a while
    NET_SLOW = "net slow"
    NET_HALF_OPEN = "net half-open"  # the server's side is gone, the client's is not told
    SSHD_FREEZE = "sshd freeze"  # the sessions' sshd processes are stopped
    SSHD_KILL = "sshd kill"  # … are killed
    IRIS_KILL = "iris kill -9"
    IRIS_STOP = "iris stop"  # SIGTERM: a drain
    IRIS_SUSPEND = "iris suspend"  # SIGSTOP, SIGCONT
    CONTAINER_RESTART = "container restart"
    CONTAINER_STOP_START = "container stop, start"
    CONTAINER_KILL = "container kill, start"
    CONTAINER_RECREATE = "container rm, run"
    CONTAINER_PAUSE = "container pause"
    ENGINE_TERM = "engine TERM"
    ENGINE_KILL = "engine KILL"
    DISK_FULL = "disk full"


@dataclass(frozen=True, slots=True)
class Spread:
    """How long, and how much.

    Attributes:
        shortest, longest: seconds that the fault lasts.
        amounts: of bytes; what they mean depends on the kind.
    """

    shortest: float = 0.0
    longest: float = 0.0
    amounts: tuple[int, int] = (0, 0)


# The capture's peers are given 3 s to answer (`lane.py`), so that each of these is sometimes noticed and sometimes survived.
SPREADS: Mapping[FaultKind, Spread] = {
    FaultKind.NET_DROP: Spread(0.1, 6.0),
    FaultKind.NET_STALL: Spread(0.1, 6.0),
    FaultKind.NET_RESET: Spread(0.0, 0.2),
    FaultKind.NET_RESET_MID_FRAME: Spread(0.0, 0.1, (1, 300_000)),
    FaultKind.NET_REFUSE: Spread(0.3, 3.0),
    FaultKind.NET_SLOW: Spread(0.5, 3.0, (2_000, 300_000)),
    FaultKind.NET_HALF_OPEN: Spread(),
    FaultKind.SSHD_FREEZE: Spread(0.5, 5.0),
    FaultKind.SSHD_KILL: Spread(),
    FaultKind.IRIS_KILL: Spread(0.0, 2.0),
    FaultKind.IRIS_STOP: Spread(0.0, 1.0),
    FaultKind.IRIS_SUSPEND: Spread(0.2, 3.0),
    FaultKind.CONTAINER_RESTART: Spread(),
    FaultKind.CONTAINER_STOP_START: Spread(0.0, 2.0),
    FaultKind.CONTAINER_KILL: Spread(0.0, 1.0),
    FaultKind.CONTAINER_RECREATE: Spread(0.0, 0.5),
    FaultKind.CONTAINER_PAUSE: Spread(0.2, 1.5),
    FaultKind.ENGINE_TERM: Spread(0.0, 1.0),
    FaultKind.ENGINE_KILL: Spread(0.0, 1.0),
    FaultKind.DISK_FULL: Spread(0.5, 3.0, (0, 60_000)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to go wrong.

    Attributes:
        kind: what.
        wait: seconds after the one before was over.
        seconds: how long it lasts.
        amount: bytes, where that matters.
        container: whose, where that matters.
    """

    kind: FaultKind
    wait: float
    seconds: float
    amount: int
    container: str


def make_schedule(
    seed: int, count: int, weights: Mapping[FaultKind, int], containers: Sequence[str], longest_wait: float = 1.0
) -> list[Fault]:
    """`count` faults, each kind at least once if there is room, the others as often as `weights` says.

    Args:
        seed: the same seed gives the same schedule.
        count: how many.
        weights: how likely each kind is; kinds that are not there do not happen.
        containers: the names of those to choose from.
        longest_wait: between two faults, in seconds.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable is what is wanted
    kinds = list(weights)
    chance.shuffle(kinds)
    kinds = kinds[:count]
    kinds += chance.choices(list(weights), list(weights.values()), k=count - len(kinds))
    chance.shuffle(kinds)
    return [_fault(chance, kind, containers, longest_wait) for kind in kinds]


def _fault(chance: random.Random, kind: FaultKind, containers: Sequence[str], longest_wait: float) -> Fault:
    spread = SPREADS[kind]
    # Squared: mostly short, sometimes as long as it may be.
    share = chance.random() ** 2
    return Fault(
        kind=kind,
        wait=round(longest_wait * chance.random(), 3),
        seconds=round(spread.shortest + (spread.longest - spread.shortest) * share, 3),
        amount=chance.randint(*spread.amounts),
        container=chance.choice(containers) if kind.startswith("container") else "",
    )
