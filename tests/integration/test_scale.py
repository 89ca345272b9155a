"""What must not grow with time or with the number of hosts: a day of preemptions in fake time; `just scale` is its long form."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from iris_core.log_file import LandedFile
from tests.benchmarks import scale, scale_bounds
from tests.benchmarks.scale import simulate
from tests.benchmarks.scale_bounds import ScaleFigures, bounds_broken
from tests.benchmarks.scale_cloud import ChannelCounts

if TYPE_CHECKING:
    from pathlib import Path

# Of 240 hosts over 24 hours, with two rests; each on its bound or within it.
_CHANNELS: Final = ChannelCounts(
    lives=993,
    opened=14_000,
    fewest=13_950,
    most=14_050,
    lives_short=0,
    lives_over=0,
    refused=10_000,
    fewest_refused=10,
    most_refused=20,
    preempted=752,
)
_FIGURES: Final = ScaleFigures(
    hosts=240,
    hours=24,
    passed_seconds=94_800.0,
    preempted_hosts=752,
    drops=480,
    channels=_CHANNELS,
    inventory_calls={"list_slices": 9481, "find_controller": 1581},
    fewest_threads=2,
    most_threads=2,
    sources=482,
    descriptors=241,
    left_bytes=100_000,
    left_by=500,
    discovered_hosts=992,
    heard_hosts=240,
    landed_hosts=992,
    landed_files=992,
    stop_seconds=10.05,
    memory_mb=(50.0, 51.0),
    seconds=60.0,
    cpu_seconds=20.0,
)


def _channels(**changed: int) -> ScaleFigures:
    return replace(_FIGURES, channels=replace(_CHANNELS, **changed))


def _calls(**changed: int) -> ScaleFigures:
    return replace(_FIGURES, inventory_calls=_FIGURES.inventory_calls | changed)


_BROKEN: Final = [
    (replace(_FIGURES, fewest_threads=1), "fewest threads"),
    (replace(_FIGURES, most_threads=3), "most threads"),
    (replace(_FIGURES, drops=0), "connections lost"),
    (replace(_FIGURES, drops=961), "connections lost"),
    (replace(_FIGURES, left_by=170, left_bytes=0), "lives that ended between the rests"),
    (_calls(list_slices=9478), "looks at the slices"),
    (_calls(list_slices=9483), "looks at the slices"),
    (_calls(find_controller=1578), "looks at the controller"),
    (_calls(find_controller=1583), "looks at the controller"),
    (replace(_FIGURES, inventory_calls={"list_slices": 9481}), "looks at the controller"),
    (_calls(list_queued=1), "other calls of the inventory"),
    (_channels(lives=992), "lives whose channels were counted"),
    (_channels(opened=13_949), "channels"),
    (_channels(opened=14_051), "channels"),
    (
        _channels(opened=2465, fewest=0),
        "channels",
    ),  # two a life, and one a lost connection, are needed whatever the account says
    (_channels(opened=16_000, most=20_000), "channels"),
    (_channels(lives_short=1), "lives with fewer channels than called for"),
    (_channels(lives_over=1), "lives with more channels than called for"),
    (_channels(too_late=1), "channels to hosts long gone"),
    (_channels(fewest_refused=9), "fewest tries of a preempted host"),
    (_channels(most_refused=21), "most tries of a preempted host"),
    (replace(_FIGURES, sources=481), "sources in memory"),
    (replace(_FIGURES, sources=483), "sources in memory"),
    (replace(_FIGURES, descriptors=240), "open descriptors"),
    (replace(_FIGURES, descriptors=242), "open descriptors"),
    (replace(_FIGURES, left_bytes=500 * 2048), "bytes left by the lives that ended"),
    (replace(_FIGURES, left_bytes=-500 * 2048), "bytes left by the lives that ended"),
    (replace(_FIGURES, discovered_hosts=991), "lives discovered"),
    (replace(_FIGURES, heard_hosts=239), "hosts whose last line was heard"),
    (replace(_FIGURES, landed_hosts=991), "lives whose lines landed once each"),
    (replace(_FIGURES, landed_files=993), "landed files"),
    (replace(_FIGURES, stop_seconds=10.2), "seconds to stop"),
    (replace(_FIGURES, stop_seconds=9.9), "seconds to stop"),
]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """It warns of every lost connection, thousands of times; the tests after these want to hear it again."""
    caplog.set_level(logging.CRITICAL, logger="iris")


@pytest.mark.timeout(300)
def test_a_day_of_preemptions_stays_within_bounds(tmp_path: Path) -> None:
    """240 hosts over 24 hours."""
    assert bounds_broken(simulate(240, 24, tmp_path)) == []


@pytest.mark.timeout(300)
def test_many_hosts_stay_within_bounds(tmp_path: Path) -> None:
    """1,000 hosts over an hour."""
    assert bounds_broken(simulate(1000, 1, tmp_path)) == []


@pytest.mark.timeout(300)
def test_two_kilobytes_kept_of_each_ended_life_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of what is left in memory is one that a small leak breaks, and that leak breaks no other."""
    kept: list[bytes] = []
    close = LandedFile.close

    def leak(file: LandedFile) -> None:
        kept.append(bytes(2000))
        close(file)

    monkeypatch.setattr(LandedFile, "close", leak)
    figures = simulate(80, 12, tmp_path)
    assert figures.left_bytes > 1900 * figures.left_by
    assert [broken.partition(":")[0] for broken in bounds_broken(figures)] == ["bytes left by the lives that ended"]


def test_figures_within_the_bounds_break_none() -> None:
    assert bounds_broken(_FIGURES) == []


@pytest.mark.parametrize(("figures", "name"), _BROKEN, ids=[f"{name}-{at}" for at, (_, name) in enumerate(_BROKEN)])
def test_each_bound_can_be_broken_alone(figures: ScaleFigures, name: str) -> None:
    """Too little is as wrong as too much."""
    assert [broken.partition(":")[0] for broken in bounds_broken(figures)] == [name]


def test_no_bound_is_left_out() -> None:
    """Each can be broken by one of the tests beside this one."""
    assert {one.name for one in scale_bounds._bounds(_FIGURES)} == {"lives that ended", *(name for _, name in _BROKEN)}


@pytest.mark.parametrize("preempted", [0, 350, 1426])
def test_days_that_are_too_quiet_or_too_wild_are_told(preempted: int) -> None:
    """What is to be judged must have happened."""
    assert any(
        broken.startswith("lives that ended: ")
        for broken in bounds_broken(replace(_FIGURES, preempted_hosts=preempted))
    )


@pytest.mark.parametrize(("figures", "status"), [(_FIGURES, 0), (replace(_FIGURES, most_threads=3), 1)])
def test_the_command_fails_where_a_bound_is_broken(
    figures: ScaleFigures,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its status says what its output says."""
    asked: list[tuple[int, float]] = []

    def pretend(hosts: int, hours: float, _directory: Path) -> ScaleFigures:
        asked.append((hosts, hours))
        return figures

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scale, "simulate", pretend)
    assert scale.main(["240", "24"]) == status
    assert asked == [(240, 24)]
    assert ("BROKEN: most threads: 3" in capsys.readouterr().out) == bool(status)
