"""How old things are, and what they may have cost: only ever from prices that the user has configured. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_core.model import ControllerVm, Slice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from iris_core.model import Resource

SPOT_SUFFIX: Final = "/spot"
"""What the key of a spot slice's price has after the accelerator type."""

_SECONDS_PER_HOUR: Final = 3600.0
_COSTS: Final = frozenset({VmPhase.PENDING, VmPhase.READY, VmPhase.DELETING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """A resource with its age and its estimated cost.

    Attributes:
        resource: the resource.
        price_key: under which key of the config's `prices` its price would be; empty for what costs nothing by itself.
        age_seconds: since it was created; None: not known.
        price_per_hour: while it runs; None: no price is configured, or it does not run.
        cost: age times price: what it cost at most, had it run from the beginning; None: not known.
    """

    resource: Resource
    price_key: str
    age_seconds: float | None
    price_per_hour: float | None
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What several resources cost together, as far as prices are configured.

    Attributes:
        per_hour: of all that have a price; None where none has.
        cost: the same, from their creation on.
        unpriced: the keys that a price would be looked for under, of those that run and have none; sorted.
    """

    per_hour: float | None
    cost: float | None
    unpriced: tuple[str, ...]


def assess(resources: Iterable[Resource], prices: Mapping[str, float], now: datetime) -> list[Assessed]:
    """Each resource with its age and its estimated cost.

    Args:
        resources: whatever there is.
        prices: per hour, of one VM by its machine type, of one slice by its accelerator type; of a spot slice by that and `/spot`.
        now: the time.
    """
    return [_assess(resource, prices, now) for resource in resources]


def total_of(assessed: Sequence[Assessed]) -> Total:
    """What they cost together."""
    priced = [one for one in assessed if one.price_per_hour is not None]
    running = [one for one in assessed if one.price_key and one.resource.phase in _COSTS]
    return Total(
        per_hour=sum(one.price_per_hour or 0.0 for one in priced) if priced else None,
        cost=sum(one.cost or 0.0 for one in priced) if priced else None,
        unpriced=tuple(sorted({one.price_key for one in running if one.price_per_hour is None})),
    )


def _assess(resource: Resource, prices: Mapping[str, float], now: datetime) -> Assessed:
    key = _price_key(resource)
    age = None if resource.created_at is None else max((now - resource.created_at).total_seconds(), 0.0)
    price = prices.get(key) if resource.phase in _COSTS else None
    cost = None if price is None or age is None else price * age / _SECONDS_PER_HOUR
    return Assessed(resource=resource, price_key=key, age_seconds=age, price_per_hour=price, cost=cost)


def _price_key(resource: Resource) -> str:
    if isinstance(resource, ControllerVm):
        return resource.machine_type
    if isinstance(resource, Slice):
        hardware = resource.hardware
        kind = hardware.accelerator_type or f"{hardware.type}-{hardware.topology}".lower().strip("-")
        return f"{kind}{SPOT_SUFFIX}" if kind and hardware.spot else kind
    return ""  # a request waits for nothing
