"""The capture of one log, against a fake engine in fake time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_core.log_paths import events_path
from tests.unit.core.capture_rig import HOST, NAME, CaptureRig

if TYPE_CHECKING:
    from pathlib import Path

    from iris_adapters.fakes import FakeContainer


@pytest.fixture
def rig(tmp_path: Path) -> CaptureRig:
    rig = CaptureRig(tmp_path)
    rig.begin()
    return rig


def test_lands_what_is_there_and_what_comes(rig: CaptureRig) -> None:
    """Lines from before and after the connection are landed once, in order, as they come."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    container.write(b"two\n", stream="stderr")
    rig.settle()
    assert [line.split(b" ", 1)[1] for line in rig.landed()] == [b"stdout F one\n", b"stderr F two\n"]
    container.write(b"three\n")
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]


def test_the_engines_socket_is_preferred_to_a_command(rig: CaptureRig) -> None:
    """A shell that may connect to the socket spares the host a docker client for each log."""
    assert {process.socket_path for process in rig.shell.started} == {"/var/run/docker.sock"}


def test_waits_for_a_container_that_is_not_there_yet(rig: CaptureRig) -> None:
    """A host that is found before its container exists is tried again until it does."""
    rig.settle(10)
    assert rig.kinds() == ["connected", "waiting"]
    container = rig.engine.create(NAME)
    container.write(b"hello\n")
    rig.settle(3)
    assert rig.landed() == [container.written[0].landed]
    assert rig.kinds() == ["connected", "waiting", "started"]


def test_a_dropped_connection_loses_and_doubles_nothing(rig: CaptureRig) -> None:
    """After a drop the capture goes on right after the last landed line."""
    container = rig.engine.create(NAME)
    for number in range(1000):
        container.write(b"line %d\n" % number)
    rig.settle()
    rig.shell.drop("iris-controller-iris")
    for number in range(700):
        container.write(b"later %d\n" % number)
    rig.settle(1)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert rig.kinds() == ["connected", "waiting", "started", "disconnected", "connected"]


@pytest.mark.parametrize("break_after", [1, 100, 181, 500, 5_000, 20_000])
@pytest.mark.parametrize("status", [None, 0, 137])
def test_an_answer_that_breaks_off_proves_nothing(rig: CaptureRig, break_after: int, status: int | None) -> None:
    """However early the connections break in a long log, it is landed whole in the end, and no gap is invented: nor by an exit with 0."""
    container = rig.engine.create(NAME)
    for number in range(600):
        container.write(b"line %d\n" % number)
    rig.engine.break_after_bytes, rig.engine.break_status = break_after, status
    rig.settle(5)
    rig.engine.break_after_bytes = None
    rig.settle(60)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "gap" not in rig.kinds()


@pytest.mark.parametrize("status", [None, 0])
def test_an_ended_container_is_not_complete_before_its_end_is_proven(tmp_path: Path, status: int | None) -> None:
    """Wherever the answers break off, before the log or in its first entry, nothing says that all has landed."""
    for break_after in range(300, 900, 25):
        rig = CaptureRig(tmp_path / str(break_after))
        container = rig.engine.create(NAME)
        container.write(b"x" * 200 + b"\n")
        container.stop()
        rig.engine.break_after_bytes, rig.engine.break_status = break_after, status
        rig.begin()
        rig.settle(5)
        assert "exited" not in rig.kinds() or rig.landed() == [container.written[0].landed]
        rig.engine.break_after_bytes = None
        rig.settle(30)
        assert rig.landed() == [container.written[0].landed]
        rig.kill()


def test_identical_lines_with_one_timestamp_are_told_apart_by_their_number(rig: CaptureRig) -> None:
    """A run of lines that are equal to the last bit, longer than any context, is resumed at its right place."""
    container = rig.engine.create(NAME)
    container.write(b"first\n")
    for _ in range(300):
        container.write(b".", timestamp="2026-01-01T00:00:01.5Z")
    rig.settle()
    rig.shell.drop("iris-controller-iris")
    for _ in range(77):
        container.write(b".", timestamp="2026-01-01T00:00:01.5Z")
    rig.settle(2)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "gap" not in rig.kinds()


@pytest.mark.parametrize("before", [[], [b"first\n"]])
@pytest.mark.parametrize("landed", [1, 2, 40, 100, 300])
def test_an_endless_line_is_resumed_at_its_right_part(rig: CaptureRig, before: list[bytes], landed: int) -> None:
    """Equal parts of one unterminated line share one timestamp: more new ones than a first read asks for hide no loss."""
    container = rig.engine.create(NAME)
    for payload in before:
        container.write(payload)
    for _ in range(landed):
        container.write(b".", timestamp="2026-01-01T00:00:01.5Z")
    rig.settle()
    rig.shell.drop("iris-controller-iris")
    for _ in range(1000):
        container.write(b".", timestamp="2026-01-01T00:00:01.5Z")
    rig.settle(2)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "gap" not in rig.kinds()


def test_timestamps_that_step_back_change_nothing(rig: CaptureRig) -> None:
    """The place in the log is its order's, not a time."""
    container = rig.engine.create(NAME)
    for hour in (5, 3, 4):
        container.write(b"x\n", timestamp=f"2026-01-01T0{hour}:00:00.1Z")
        rig.settle()
        rig.shell.drop("iris-controller-iris")
        container.write(b"y\n", timestamp=f"2026-01-01T0{hour}:00:00.05Z")
        rig.settle(20)
    assert rig.landed() == [entry.landed for entry in container.written]


def test_an_engine_that_tells_the_time_of_another_zone_serves_the_same_lines(rig: CaptureRig) -> None:
    """The driver `local` did, before Docker 25: a zone that changes, or an engine that is upgraded, doubles nothing."""
    container = rig.engine.create(NAME, can_rotate=True)
    for second in range(60):
        container.write(b"line %d\n" % second, timestamp=f"2026-01-01T01:00:{second:02d}.000000001+01:00")
    rig.settle()
    rig.kill()
    upgraded = [replace(one, timestamp=f"2026-01-01T00:{one.timestamp[14:29]}Z") for one in container.written]
    container.written[:] = upgraded
    rig.begin()
    rig.settle(30)
    assert rig.landed() == [entry.landed for entry in upgraded]
    assert "gap" not in rig.kinds()


def test_a_rotated_hole_is_told_and_what_is_left_is_landed(rig: CaptureRig) -> None:
    """Lines that the engine no longer holds are a gap, exactly told; what it holds is landed after it."""
    container = rig.engine.create(NAME, can_rotate=True)
    for number in range(50):
        container.write(b"line %d\n" % number)
    rig.settle()
    rig.shell.drop("iris-controller-iris")
    for number in range(50):
        container.write(b"later %d\n" % number)
    container.rotate(keep=20)
    rig.settle(2)
    assert rig.landed() == [entry.landed for entry in container.written[:50] + container.written[80:]]
    [gap] = [record for record in rig.records() if record["event"] == "gap"]
    assert (gap["after"], gap["before"]) == (container.written[49].timestamp, container.written[80].timestamp)


def test_a_log_whose_beginning_may_have_been_rotated_away_says_so(rig: CaptureRig) -> None:
    """Nothing has landed, and nobody can tell what was before the first line: once, before that line."""
    container = rig.engine.create(NAME, can_rotate=True)
    for number in range(30_000):
        container.write(b"%0100d\n" % number)
    container.rotate(keep=20_000)
    rig.settle(5)
    container.write(b"more\n")
    rig.settle(5)
    assert rig.landed() == [entry.landed for entry in container.held]
    [told] = [record for record in rig.records() if record["event"] == "unverified-head"]
    assert (told["before"], told["offset"]) == (container.held[0].timestamp, 0)


def test_a_young_log_that_can_rotate_is_known_to_be_whole(rig: CaptureRig) -> None:
    """So little is there that nothing can have been rotated away; and however often the first read breaks, nothing is told."""
    container = rig.engine.create(NAME, can_rotate=True)
    for number in range(300):
        container.write(b"%0100d\n" % number)
    rig.engine.break_after_bytes = 20_000
    rig.settle(2)
    rig.engine.break_after_bytes = None
    rig.settle(30)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "unverified-head" not in rig.kinds()


def test_of_a_log_that_can_rotate_a_follow_is_only_a_doorbell(rig: CaptureRig) -> None:
    """A follow loses lines when the log rotates under it, so such a log is only ever read in snapshots, also when a follow rang."""
    container = rig.engine.create(NAME, can_rotate=True)
    for round_number in range(20):
        container.write(b"line %d\n" % round_number)
        container.rotate(keep=10, followers_miss=3)
        rig.settle(1)
    assert not [target for target in rig.engine.requests if "follow=1" in target]
    for round_number in range(20):
        rig.settle(30)
        container.write(b"first of round %d\n" % round_number)
        for number in range(6):
            container.write(b"line %d of round %d\n" % (number, round_number))
        container.rotate(keep=20, followers_miss=3)
        rig.settle(1)
        assert rig.landed() == [entry.landed for entry in container.written]
    assert [target for target in rig.engine.requests if "follow=1" in target]


def test_a_restart_goes_on_in_the_same_log(rig: CaptureRig) -> None:
    """A container that is started again is told of, and its log continues."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle()
    container.stop(exit_code=3, oom_killed=True)
    rig.settle(5)
    container.start()
    container.write(b"two\n")
    rig.settle(5)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert rig.kinds() == ["connected", "waiting", "started", "exited", "restarted"]
    [exited] = [record for record in rig.records() if record["event"] == "exited"]
    assert (exited["exit_code"], exited["oom_killed"]) == (3, True)


def test_a_recreated_container_is_a_new_life(rig: CaptureRig) -> None:
    """Another container of the same name begins anew, and the record says from which byte on."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    old.stop()
    rig.settle(5)
    rig.engine.remove(old)
    new = rig.engine.create(NAME)
    new.write(b"new\n")
    rig.settle(5)
    assert rig.lives() == [(old.id, [[old.written[0].landed]]), (new.id, [[new.written[0].landed]])]
    assert rig.kinds() == ["connected", "waiting", "started", "exited", "re-created"]


def test_a_container_removed_before_its_end_was_read_is_told(rig: CaptureRig) -> None:
    """What may be missing of a removed container is never passed over in silence."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    rig.settle()
    rig.shell.drop("iris-controller-iris")
    old.write(b"never read\n")
    rig.engine.remove(old)
    new = rig.engine.create(NAME)
    new.write(b"new\n")
    rig.settle(5)
    assert "unverified-tail" in rig.kinds()
    assert rig.lives() == [(old.id, [[old.written[0].landed]]), (new.id, [[new.written[0].landed]])]


def test_what_a_container_wrote_after_its_end_was_told_of_is_not_passed_over(rig: CaptureRig) -> None:
    """A container whose log was complete is started again, writes, and is removed before the next look: that is told."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    old.stop()
    rig.settle(5)
    old.start()
    old.write(b"never read\n")
    rig.engine.remove(old)
    rig.settle(5)
    assert rig.kinds() == ["connected", "waiting", "started", "exited", "unverified-tail", "waiting"]


def test_a_clock_that_was_set_back_hides_no_start(rig: CaptureRig) -> None:
    """By the times of the events, the second start was an hour before the end that iris has seen; by their order, it followed it."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    rig.settle()
    old.stop(finished_at="2026-01-01T01:00:00.5Z")
    rig.settle(10)
    old.start()
    old.write(b"never read\n")
    rig.engine.remove(old)
    rig.settle(10)
    assert rig.kinds()[-3:] == ["exited", "unverified-tail", "waiting"]


@pytest.mark.parametrize("killed", [False, True])
def test_the_removal_of_a_container_that_had_ended_is_nothing_to_tell(rig: CaptureRig, *, killed: bool) -> None:
    """The engine's events prove that it was not started again, also to an iris that has not seen its end itself."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    old.stop()
    old.start()
    old.stop()
    rig.settle(5)
    if killed:
        rig.kill()
    rig.engine.remove(old)
    if killed:
        rig.begin()
    rig.settle(5)
    assert "unverified-tail" not in rig.kinds()


@pytest.mark.parametrize("refusal", [None, "events are not for you"])
def test_where_the_engine_has_forgotten_the_past_the_tail_is_unverified(rig: CaptureRig, refusal: str | None) -> None:
    """Without its events nothing proves that a removed container was not started again."""
    old = rig.engine.create(NAME)
    old.stop()
    rig.settle(5)
    rig.engine.forgets, rig.engine.refuse_events = refusal is None, refusal
    rig.engine.remove(old)
    rig.settle(10)
    assert rig.kinds().count("unverified-tail") == 1


def test_a_container_that_is_being_removed_is_not_called_unreadable(rig: CaptureRig) -> None:
    """The engine refuses its log for a moment (409), and its successor is not kept waiting for it."""
    old = rig.engine.create(NAME)
    rig.settle()
    rig.engine.refuse_logs, rig.engine.refusal_status = "can not get logs from container which is dead", 409
    rig.shell.drop(HOST.name)
    rig.settle(1)
    rig.engine.refuse_logs = None
    rig.engine.remove(old)
    new = rig.engine.create(NAME)
    new.write(b"new\n")
    rig.settle(2)
    assert rig.landed() == [new.written[0].landed]
    assert "unreadable" not in rig.kinds()


def test_a_renamed_container_is_read_to_its_end(rig: CaptureRig) -> None:
    """`docker rename` and a new container under the name: the rest of the old log is taken by its id."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    rig.settle()
    rig.shell.drop("iris-controller-iris")
    old.write(b"its last\n")
    old.stop()
    old.name = "old-one"
    new = rig.engine.create(NAME)
    new.write(b"new\n")
    rig.settle(5)
    assert rig.lives() == [
        (old.id, [[entry.landed for entry in old.written]]),
        (new.id, [[new.written[0].landed]]),
    ]
    assert "unverified-tail" not in rig.kinds()


@pytest.mark.parametrize(("status", "seconds"), [(501, 5), (500, 400)])
def test_a_renamed_container_whose_log_cannot_be_read_is_left(
    rig: CaptureRig, monkeypatch: pytest.MonkeyPatch, status: int, seconds: float
) -> None:
    """At once, where its log driver never gives it; else after some minutes, for what can be had later must not be lost. It is told."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    rig.settle()
    answer = rig.engine.answer

    def refuse(target: str) -> tuple[int, object, FakeContainer | None, dict[str, str]]:
        refused = old.id in target and "/logs" in target
        return (status, {"message": "no reading"}, None, {}) if refused else answer(target)

    monkeypatch.setattr(rig.engine, "answer", refuse)
    rig.shell.drop(HOST.name)
    old.name = "old-one"
    new = rig.engine.create(NAME)
    new.write(b"new\n")
    rig.settle(seconds)
    assert rig.lives() == [(old.id, [[old.written[0].landed]]), (new.id, [[new.written[0].landed]])]
    assert rig.kinds().count("unverified-tail") == 1
    assert len(rig.engine.requests) < 60


def test_a_renamed_container_whose_log_comes_after_a_minute_is_read_to_its_end(rig: CaptureRig) -> None:
    """Its successor waits for it."""
    old = rig.engine.create(NAME)
    old.write(b"old\n")
    rig.settle()
    rig.shell.drop(HOST.name)
    old.write(b"its last\n")
    old.stop()
    old.name = "old-one"
    new = rig.engine.create(NAME)
    new.write(b"new\n")
    rig.engine.refuse_logs, rig.engine.refusal_status = "the disk is busy", 500
    rig.settle(60)
    rig.engine.refuse_logs = None
    rig.settle(31)
    assert rig.lives() == [(old.id, [[entry.landed for entry in old.written]]), (new.id, [[new.written[0].landed]])]
    assert "unverified-tail" not in rig.kinds()


def test_an_answer_that_no_engine_gives_is_not_asked_for_in_a_hot_loop(
    rig: CaptureRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy before the engine may answer anything to a request for a log."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    answer = rig.engine.answer

    def switch(target: str) -> tuple[int, object, FakeContainer | None, dict[str, str]]:
        return (101, {}, None, {}) if "/logs" in target else answer(target)

    monkeypatch.setattr(rig.engine, "answer", switch)
    rig.settle(300)
    assert len(rig.events) < 10
    assert rig.kinds().count("unreadable") == 1
    assert len(rig.engine.requests) < 50
    monkeypatch.undo()
    rig.settle(31)
    assert rig.landed() == [entry.landed for entry in container.written]


def test_a_container_that_has_its_name_again_is_taken_leave_of_anew(rig: CaptureRig) -> None:
    """It was renamed away and back; what it wrote between its last look and its removal is not passed over."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle()
    rig.shell.drop(HOST.name)
    container.name = "elsewhere"
    rig.settle(5)
    assert rig.kinds().count("unverified-tail") == 1
    container.name = NAME
    container.write(b"two\n")
    rig.settle(5)
    assert rig.landed() == [entry.landed for entry in container.written]
    rig.shell.drop(HOST.name)
    container.write(b"never read\n")
    rig.engine.remove(container)
    rig.settle(5)
    assert rig.kinds().count("unverified-tail") == 2


def test_a_container_that_has_its_name_again_goes_on_after_its_own_lines(rig: CaptureRig) -> None:
    """A new version is tried under the name, and taken back: what the old one wrote before, and meanwhile, lands once."""
    old = rig.engine.create(NAME)
    for number in range(3):
        old.write(b"old %d\n" % number)
    rig.settle()
    for attempt in range(3):
        old.name = "old-one"
        new = rig.engine.create(NAME)
        new.write(b"bad version %d\n" % attempt)
        rig.settle(10)
        old.write(b"elsewhere %d\n" % attempt)
        rig.engine.remove(new)
        old.name = NAME
        rig.settle(10)
    old.write(b"old again\n")
    rig.settle()
    own = [line for line in rig.landed() if b"version" not in line]
    assert own == [entry.landed for entry in old.written]
    assert len(rig.landed()) == len(own) + 3
    assert "gap" not in rig.kinds()


def test_a_container_that_has_its_name_again_is_known_to_the_next_iris(rig: CaptureRig) -> None:
    """The same, where each of the three is seen by another iris, and the last one is killed before anything new has landed."""
    old = rig.engine.create(NAME)
    for number in range(3):
        old.write(b"old %d\n" % number)
    rig.settle()
    rig.kill()
    old.name = "old-one"
    new = rig.engine.create(NAME)
    new.write(b"bad version\n")
    rig.begin()
    rig.settle()
    rig.kill()
    rig.engine.remove(new)
    old.name = NAME
    for _ in range(2):
        rig.begin()
        rig.settle()
        rig.kill()
    old.write(b"old again\n")
    rig.begin()
    rig.settle()
    own = [line for line in rig.landed() if b"version" not in line]
    assert own == [entry.landed for entry in old.written]
    assert "gap" not in rig.kinds()


def test_a_record_of_events_that_is_deleted_meanwhile_keeps_nobody_from_going_on(rig: CaptureRig) -> None:
    """The next event makes it anew and says whose the lines are, so that the next iris goes on where they end."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle()
    events_path(rig.path).unlink()
    rig.shell.drop(HOST.name)
    rig.settle(10)
    rig.kill()
    container.write(b"two\n")
    rig.begin()
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "gap" not in rig.kinds()


def test_resumes_after_a_kill_in_the_middle_of_a_write(rig: CaptureRig) -> None:
    """A killed iris leaves half a line; the next one cuts it off and goes on where the file ends."""
    container = rig.engine.create(NAME)
    for number in range(100):
        container.write(b"line %d\n" % number)
    rig.settle()
    rig.kill(torn_bytes=30)
    container.write(b"meanwhile\n")
    rig.begin()
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]


def test_a_terminal_container_is_landed_entry_by_entry(rig: CaptureRig) -> None:
    """A TTY's log has no frames: its entries are stdout, their carriage returns kept."""
    container = rig.engine.create(NAME, tty=True)
    container.write(b"$ ls\r\n")
    container.write(b"x" * 16384)
    container.write(b" end\r\n")
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]


def test_drain_takes_what_is_there_and_ends(rig: CaptureRig) -> None:
    """A drain begins another read after it was asked for, then the source has finished and its file is closed."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle()
    for process in rig.shell.running():
        process.pause_reading()  # what comes now is under way, and never arrives
    container.write(b"two\n")
    rig.drain()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert rig.kinds()[-1] == "drained"
    assert rig.slot.done
    assert not rig.shell.running()


def test_drain_in_the_middle_of_a_read_reads_once_more(rig: CaptureRig) -> None:
    """What was written between the read under way and the request to drain belongs to what the engine has at this moment."""
    container = rig.engine.create(NAME, can_rotate=True)
    container.write(b"one\n")
    rig.settle()
    rig.engine.requests.clear()
    while not any("/logs" in target for target in rig.engine.requests):  # then its answer is on its way
        rig.clock.advance(rig.pump.step() or 0)
    container.write(b"two\n")
    rig.drain()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert rig.kinds()[-1] == "drained"


def test_a_drain_that_cannot_be_done_says_so_in_time(rig: CaptureRig) -> None:
    """When the host does not answer any more, stop takes its time and no longer, and tells what is missing."""
    rig.engine.create(NAME)
    rig.settle()
    rig.shell.break_host("iris-controller-iris")
    rig.shell.drop("iris-controller-iris")
    rig.settle(1)
    rig.pump.drain(rig.pump.slots, 10)
    rig.settle(10)
    assert rig.slot.done
    assert rig.kinds()[-1] == "not-drained"
    assert "could not be reached" in str(rig.events[-1])


def test_retries_at_once_then_backs_off_to_half_a_minute(rig: CaptureRig) -> None:
    """The first retry is immediate, the tenth minute sees only a few, and a come-back is noticed within 30 s."""
    rig.engine.create(NAME)
    rig.settle()
    rig.shell.break_host("iris-controller-iris")
    rig.shell.drop("iris-controller-iris")
    rig.settle(600)
    assert rig.kinds().count("disconnected") == 1
    rig.shell.heal_host("iris-controller-iris")
    before = len(rig.shell.started)
    rig.settle(30)
    assert rig.kinds().count("connected") == 2
    assert len(rig.shell.started) <= before + 2


def test_an_unreachable_engine_is_told_with_advice(rig: CaptureRig) -> None:
    """A user who may not reach the engine is told what to do."""
    rig.kill()
    rig.engine.complaint = "permission denied while trying to connect to the Docker daemon socket"
    rig.engine.reachable = False
    rig.begin()
    rig.settle(5)
    assert "set logs.use_sudo" in str(rig.events[0])


def test_a_log_that_the_engine_will_not_give_is_told_once(rig: CaptureRig) -> None:
    """A log driver that cannot be read is an event, not an endless stream of attempts."""
    rig.engine.refuse_logs = "configured logging driver does not support reading"
    rig.engine.create(NAME)
    rig.settle(300)
    assert rig.kinds().count("unreadable") == 1
    assert len(rig.engine.requests) < 50


def test_a_quiet_log_is_told_and_costs_little(rig: CaptureRig) -> None:
    """An hour of silence is told once and costs a few checks, not a poll a second."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle(3600)
    assert rig.kinds().count("silent") == 1
    assert len(rig.engine.requests) < 250
    container.write(b"two\n")
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]


@pytest.mark.parametrize("can_rotate", [False, True])
def test_a_line_after_hours_of_silence_lands_at_once(rig: CaptureRig, *, can_rotate: bool) -> None:
    """Nobody asks the engine again and again for hours, and yet the next line is there within the second."""
    container = rig.engine.create(NAME, can_rotate=can_rotate)
    container.write(b"one\n")
    rig.settle(7200)
    asked = len(rig.engine.requests)
    rig.settle(3600)
    assert len(rig.engine.requests) - asked < 60
    container.write(b"two\n")
    rig.settle(1)
    assert rig.landed() == [entry.landed for entry in container.written]


def test_a_line_every_few_seconds_is_not_checked_each_time(rig: CaptureRig) -> None:
    """A follow that a few SNAPSHOTs have proven right is believed: a check costs a thousand times what a line does."""
    container = rig.engine.create(NAME)
    for number in range(300):
        container.write(b"step %d\n" % number)
        rig.settle(12)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert len(rig.engine.requests) < 20


def test_a_line_every_half_minute_of_a_log_that_may_rotate_costs_one_read(rig: CaptureRig) -> None:
    """And the doorbell anew: it is not looked again and again whether more comes."""
    container = rig.engine.create(NAME, can_rotate=True)
    container.write(b"first\n")
    rig.settle(20)
    rig.engine.requests.clear()

    for number in range(10):
        container.write(b"line %d\n" % number)
        rig.settle(25)
        assert b"line %d\n" % number in rig.landed()[-1]

    assert len(rig.engine.requests) <= 10 * len(("inspect", "logs", "logs?follow"))


def test_pauses_while_the_disk_is_full_and_resumes_without_loss(rig: CaptureRig) -> None:
    """When the file cannot grow, the host is made to wait; when it can again, nothing is missing."""
    container = rig.engine.create(NAME)
    rig.settle()
    rig.file.full = True
    for number in range(5000):
        container.write(b"x" * 500 + b"%d\n" % number)
    rig.settle()
    container.write(b"one more\n")
    rig.settle(20)
    [process] = rig.shell.running()
    assert process.paused
    assert rig.kinds()[-1] == "paused"
    rig.file.full = False
    rig.settle(5)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert rig.kinds()[-1] == "resumed"
    assert [record["event"] for record in rig.records()][-2:] == ["paused", "resumed"]
