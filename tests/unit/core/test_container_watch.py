"""Which containers of a host bear the label, as they come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeDockerEngine, FakeShell, make_host
from iris_core.log_pump import LogPump

if TYPE_CHECKING:
    from iris_core.log_events import LogEvent

HOST = make_host("w")
LABEL = {"iris.managed": "true"}


class WatchRig:
    """A pump with one watch; `found` is every list that it told."""

    def __init__(self, label: str = "iris.managed=true") -> None:
        self.engine = FakeDockerEngine()
        self.shell = FakeShell(starts=[self.engine.script()])
        self.clock = FakeClock()
        self.events: list[LogEvent] = []
        self.found: list[set[str]] = []
        self.pump = LogPump(self.shell, self.clock, self.events.append, jitter=lambda: 0.5)
        self.label = label

    def begin(self) -> None:
        self.slot = self.pump.watch(HOST, self.label, lambda names: self.found.append(set(names)), use_sudo=True)

    def settle(self, seconds: float = 3.0) -> None:
        until = self.clock.monotonic() + seconds
        for _ in range(10_000):
            wait = self.pump.step()
            now = self.clock.monotonic()
            if wait is None or now + wait > until:
                self.clock.advance(until - now)
                return
            self.clock.advance(wait)
        raise AssertionError("the pump does not come to rest")

    def lists(self) -> int:
        return sum(target.startswith("/containers/json") for target in self.engine.requests)


@pytest.fixture
def rig() -> WatchRig:
    return WatchRig()


def test_what_is_there_is_found_and_then_what_comes_and_goes(rig: WatchRig) -> None:
    """Running or ended, with the label and no others; a change is seen within a second or two."""
    one = rig.engine.create("one", labels=LABEL)
    rig.engine.create("other", labels={"iris.managed": "false"})
    one.stop()
    rig.begin()
    rig.settle()
    assert rig.found == [{"one"}]
    rig.engine.create("two", labels=LABEL)
    rig.settle(2)
    assert rig.found[-1] == {"one", "two"}
    rig.engine.remove(one)
    rig.settle(2)
    assert rig.found[-1] == {"two"}


def test_a_label_without_a_value_is_borne_with_any() -> None:
    """`key` alone is docker's filter for containers that have the label at all."""
    rig = WatchRig("iris.managed")
    rig.engine.create("one", labels={"iris.managed": "false"})
    rig.begin()
    rig.settle()
    assert rig.found == [{"one"}]


def test_what_came_while_nobody_listened_is_found_within_a_minute(rig: WatchRig) -> None:
    """The list is asked for again although the engine told of nothing."""
    rig.begin()
    rig.settle()
    [process] = rig.shell.running()
    process.pause_reading()  # what the engine tells does not arrive
    rig.engine.create("one", labels=LABEL)
    rig.settle(61)
    assert rig.found[-1] == {"one"}


def test_what_comes_between_the_list_and_the_waiting_is_told_of(rig: WatchRig) -> None:
    """The engine is asked for what has happened since it answered with the list."""
    rig.begin()
    assert rig.lists() == 1
    assert rig.found == []  # the answer is in the inbox
    rig.engine.create("one", labels=LABEL)
    rig.settle(3)
    assert rig.found == [set(), {"one"}]
    rig.settle(60)
    assert rig.lists() <= 3


def test_a_quiet_hour_costs_a_few_lists(rig: WatchRig) -> None:
    """Watching costs next to nothing where nothing happens, and holds one channel."""
    rig.begin()
    rig.settle(3600)
    assert rig.lists() <= 10
    assert len(rig.shell.running()) == 1


def test_a_storm_of_changes_is_not_answered_one_by_one(rig: WatchRig) -> None:
    """A thousand containers that come and go in ten seconds cause a list a second."""
    rig.begin()
    rig.settle(1)
    for number in range(1000):
        rig.engine.remove(rig.engine.create(f"c{number}", labels=LABEL))
        rig.settle(0.01)
    assert rig.lists() <= 13
    rig.engine.create("last", labels=LABEL)
    rig.settle(3)
    assert rig.found[-1] == {"last"}


def test_a_lost_host_is_asked_again_until_it_answers(rig: WatchRig) -> None:
    """What is not known changes nothing: no empty list is told for an engine that did not answer."""
    rig.engine.create("one", labels=LABEL)
    rig.begin()
    rig.settle()
    rig.shell.break_host("w")
    rig.shell.drop("w")
    rig.settle(600)
    assert rig.found == [{"one"}]
    assert not rig.slot.machine.connected
    assert len(rig.shell.started) < 3
    rig.engine.create("two", labels=LABEL)
    rig.shell.heal_host("w")
    rig.settle(31)
    assert rig.found[-1] == {"one", "two"}
    assert rig.slot.machine.connected


def test_an_engine_that_tells_of_no_changes_is_listed_seldom(rig: WatchRig) -> None:
    """A proxy in front of the engine may refuse events: then the list is asked for now and then, not in a hot loop."""
    rig.engine.refuse_events = "forbidden by policy"
    rig.begin()
    rig.settle(600)
    assert 20 <= rig.lists() <= 40
    rig.engine.create("one", labels=LABEL)
    rig.settle(31)
    assert rig.found[-1] == {"one"}


def test_a_refusal_is_told_once(rig: WatchRig) -> None:
    """Where the containers of the label cannot be known, somebody must hear why, and not every half a minute."""
    rig.engine.refuse_lists = "bad label"
    rig.begin()
    rig.settle(300)
    assert rig.found == []
    assert [str(event) for event in rig.events] == [
        "w: containers: unreadable (reason: The Docker engine answered 500: bad label)"
    ]
    rig.engine.refuse_lists = None
    rig.settle(31)
    assert rig.found == [set()]


def test_it_ends_at_once_where_all_is_known(rig: WatchRig) -> None:
    """The channel is closed, and what still comes is of no interest."""
    rig.begin()
    rig.settle()
    rig.pump.drain([rig.slot], 10)
    assert rig.slot.done
    assert rig.shell.running() == []
    before = len(rig.found)
    rig.engine.create("one", labels=LABEL)
    rig.settle(100)
    assert len(rig.found) == before
    assert rig.slot.machine.wake_at is None


def test_a_list_that_was_on_its_way_is_not_the_last(rig: WatchRig) -> None:
    """What came between it and the request to end is found."""
    rig.begin()
    assert rig.lists() == 1
    rig.engine.create("one", labels=LABEL)
    rig.pump.drain([rig.slot], 10)
    rig.settle(0.1)
    assert rig.slot.done
    assert rig.found == [set(), {"one"}]


def test_an_engine_that_does_not_answer_is_asked_to_the_end(rig: WatchRig) -> None:
    """What bears the label is not known: that is told, after some attempts and no hot loop."""
    rig.engine.reachable = False
    rig.begin()
    rig.settle()
    rig.pump.drain([rig.slot], 10)
    rig.settle(9)
    assert rig.events == []
    assert 10 <= len(rig.shell.started) <= 40
    rig.settle(2)
    assert rig.slot.done
    assert [event.kind.value for event in rig.events] == ["not-drained"]


def test_an_engine_that_answers_at_last_is_listed(rig: WatchRig) -> None:
    """Within the time that there is."""
    rig.engine.reachable = False
    rig.engine.create("one", labels=LABEL)
    rig.begin()
    rig.pump.drain([rig.slot], 10)
    rig.settle(5)
    rig.engine.reachable = True
    rig.settle(2)
    assert rig.slot.done
    assert rig.found == [{"one"}]
    assert rig.events == []
