"""What came of a simulated day (`scale`), and what docs/scaling.md promises of it, both ways: too little is as wrong as too much."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_core.config import LogConfig
from tests.benchmarks.scale_cloud import (
    AGAIN_SECONDS,
    CHANNELS_OF_A_HOST,
    CHECK_SECONDS,
    DROPS_PER_HOST_AND_DAY,
    HOUR,
    LIFE_HOURS,
)

if TYPE_CHECKING:
    from tests.benchmarks.scale_cloud import ChannelCounts

_THREADS: Final = 2
_LOOKS_FOR_ONE_AT_THE_CONTROLLER: Final = 6
# At once, then after 1, 2, 4 … 30 s, spread by half, until iris takes leave of the host after 60 to 75 s; and in each step of 5 s of that.
_TRIES_OF_A_LOST_CHANNEL: Final = (5, 10)
_BYTES_OF_A_LIFE: Final = 300  # its name, and its place in what was discovered, whose table doubles now and then
_BYTES_OF_A_HOST: Final = 150  # tables of as many entries as hosts, the fakes' too, of which each may double once
_BYTES_ONCE: Final = 30_000  # the first hundred of those that could not be drained, by name and reason, for `stop`
_STOP_LATE_SECONDS: Final = 0.1  # the steps that `scale` goes in then


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFigures:
    """What came of it. Seconds are of fake time where nothing else is said.

    Attributes:
        hosts, hours: of what; see `scale.simulate`.
        passed_seconds: from the beginning to the end of the second rest, when all was counted up to `left_by`.
        preempted_hosts: how many lives of hosts had ended.
        drops: how many connections had been lost without cause.
        channels: to all hosts.
        inventory_calls: by method.
        fewest_threads, most_threads: besides the one that plays the cloud.
        sources: how many were in memory: a log and a watch for each host and for the controller.
        descriptors: how many were open on files below the directory of the logs.
        left_bytes: how much more was in memory than at the end of the first rest.
        left_by: how many lives had ended since then.
        discovered_hosts: how many lives iris told of (`discovered_workers`).
        heard_hosts: how many hosts had all lines in their file that their container wrote, a minute after the last one.
        landed_hosts: how many lives had exactly what their container wrote, in the end.
        landed_files: how many files of worker hosts there were, then.
        stop_seconds: how long `stop` took, while some hosts could not be reached.
        memory_mb: of the process at the end of each rest, the fakes' own included.
        seconds: of real time.
        cpu_seconds: of this process, all that it pretends included.
    """

    hosts: int
    hours: float
    passed_seconds: float
    preempted_hosts: int
    drops: int
    channels: ChannelCounts
    inventory_calls: dict[str, int]
    fewest_threads: int
    most_threads: int
    sources: int
    descriptors: int
    left_bytes: int
    left_by: int
    discovered_hosts: int
    heard_hosts: int
    landed_hosts: int
    landed_files: int
    stop_seconds: float
    memory_mb: tuple[float, float]
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class _Bound:
    name: str
    value: float
    least: float
    most: float


def bounds_broken(figures: ScaleFigures) -> list[str]:
    """Which of the bounds that docs/scaling.md states do not hold, for people."""
    return [
        f"{one.name}: {one.value:,.10g}, not {one.least:,.10g} to {one.most:,.10g}"
        for one in _bounds(figures)
        if not one.least <= one.value <= one.most
    ]


def _bounds(figures: ScaleFigures) -> list[_Bound]:
    preempted = figures.hosts * figures.hours / (LIFE_HOURS + AGAIN_SECONDS / HOUR)  # about so many
    dropped = figures.hosts * figures.hours / 24 * DROPS_PER_HOST_AND_DAY
    lives = figures.hosts + figures.preempted_hosts
    channels = figures.channels
    # Whatever the cloud's account of each life says; the controller is one, too.
    fewest = CHANNELS_OF_A_HOST * (lives + 1) + figures.drops
    most = CHANNELS_OF_A_HOST * (
        lives + 1 + figures.drops + (figures.hosts + 1) * figures.passed_seconds / CHECK_SECONDS
    )
    fewest_tries, most_tries = (CHANNELS_OF_A_HOST * tries for tries in _TRIES_OF_A_LOST_CHANNEL)
    calls = Counter(figures.inventory_calls)
    looks = figures.passed_seconds / LogConfig().discovery_seconds
    controller_looks = looks / _LOOKS_FOR_ONE_AT_THE_CONTROLLER
    drain_seconds = LogConfig().drain_seconds
    left = _BYTES_ONCE + _BYTES_OF_A_HOST * figures.hosts + _BYTES_OF_A_LIFE * figures.left_by
    return [
        _Bound("lives that ended", figures.preempted_hosts, preempted / 2, preempted * 2),
        _Bound("lives that ended between the rests", figures.left_by, preempted / 4, figures.preempted_hosts),
        _Bound("connections lost", figures.drops, dropped / 2, dropped * 2),
        _exactly("fewest threads", figures.fewest_threads, _THREADS),
        _exactly("most threads", figures.most_threads, _THREADS),
        _Bound("looks at the slices", calls["list_slices"], looks - 1, looks + 2),
        _Bound("looks at the controller", calls["find_controller"], controller_looks - 1, controller_looks + 2),
        _exactly("other calls of the inventory", calls.total() - calls["list_slices"] - calls["find_controller"], 0),
        _exactly("lives whose channels were counted", channels.lives, lives + 1),
        _Bound("channels", channels.opened, max(fewest, channels.fewest), min(most, channels.most)),
        _exactly("lives with fewer channels than called for", channels.lives_short, 0),
        _exactly("lives with more channels than called for", channels.lives_over, 0),
        _exactly("channels to hosts long gone", channels.too_late, 0),
        _Bound("fewest tries of a preempted host", channels.fewest_refused, fewest_tries, most_tries),
        _Bound("most tries of a preempted host", channels.most_refused, fewest_tries, most_tries),
        _exactly("sources in memory", figures.sources, CHANNELS_OF_A_HOST * (figures.hosts + 1)),
        _exactly("open descriptors", figures.descriptors, figures.hosts + 1),
        _Bound("bytes left by the lives that ended", figures.left_bytes, -left, left),
        _exactly("lives discovered", figures.discovered_hosts, lives),
        _exactly("hosts whose last line was heard", figures.heard_hosts, figures.hosts),
        _exactly("lives whose lines landed once each", figures.landed_hosts, lives),
        _exactly("landed files", figures.landed_files, lives),
        _Bound("seconds to stop", figures.stop_seconds, drain_seconds, drain_seconds + _STOP_LATE_SECONDS),
    ]


def _exactly(name: str, value: float, wanted: float) -> _Bound:
    return _Bound(name, value, wanted, wanted)
