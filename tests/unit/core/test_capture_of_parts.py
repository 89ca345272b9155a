"""Lines that do not end (progress bars): their parts look alike to the timestamp, and their logs rotate in their middle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_core.log_cursor import CONTEXT_LINES
from tests.unit.core.capture_rig import NAME, CaptureRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_adapters.fakes import FakeContainer

MOMENT = "2026-01-01T00:00:00.5Z"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[CaptureRig]:
    made = CaptureRig(tmp_path)
    yield made
    made.file.close()


@pytest.fixture
def container(rig: CaptureRig) -> FakeContainer:
    """One whose log may rotate, and that is captured."""
    made = rig.engine.create(NAME, can_rotate=True)
    rig.begin()
    return made


def write_parts(container: FakeContainer, count: int, content: bytes = b"%d%% done") -> None:
    """Parts of the one line that it ever writes."""
    for _ in range(count):
        payload = content % len(container.written) if b"%d" in content else content
        container.write(payload, timestamp=MOMENT)


def landed_payloads(rig: CaptureRig) -> list[bytes]:
    return [line.split(b" ", 3)[3].rstrip(b"\n") for line in rig.landed()]


def test_parts_that_do_not_ring_are_not_left_for_long(rig: CaptureRig, container: FakeContainer) -> None:
    """Each looks like a landed one, and comes before the doorbell has been silent for long enough: it is looked nevertheless."""
    write_parts(container, 100, b".")
    rig.settle(20)

    for _ in range(30):
        write_parts(container, 1, b".")
        rig.settle(10)
        assert len(container.written) - len(rig.landed()) <= 8


def test_a_progress_bar_is_landed_once_however_often_its_log_rotates(rig: CaptureRig, container: FakeContainer) -> None:
    """What the log still begins with is known by the many parts that it shares with what has landed."""
    for _ in range(40):
        write_parts(container, 10)
        rig.settle(1)
        if len(container.held) > 100:
            container.rotate(60)
    rig.drain()

    assert landed_payloads(rig) == [entry.payload for entry in container.written]
    assert "gap" not in rig.kinds()


def test_parts_that_are_all_the_same_are_never_doubled_and_each_rotation_is_told(
    rig: CaptureRig, container: FakeContainer
) -> None:
    """Nobody can count them across a rotation. They were landed again and again once, as fast as the engine gave them."""
    rotations = 0

    for _ in range(40):
        write_parts(container, 10, b".")
        rig.settle(1)
        if len(container.held) > 100:
            container.rotate(60)
            rotations += 1
    container.write(b"\n", timestamp=MOMENT)
    container.write(b"after\n")
    rig.drain()

    landed = landed_payloads(rig)
    assert landed[-2:] == [b"", b"after"]
    assert 100 < landed.count(b".") <= 400
    assert rig.kinds().count("gap") == rotations > 5


@pytest.mark.parametrize("kept", [1, CONTEXT_LINES - 1])
@pytest.mark.parametrize("landed", [CONTEXT_LINES, 300])
def test_a_log_that_begins_with_a_few_parts_after_a_restart(
    rig: CaptureRig, container: FakeContainer, kept: int, landed: int
) -> None:
    """Where each was unlike so many before it, they are believed to be the landed ones."""
    write_parts(container, landed)
    rig.settle(1)

    rig.kill()
    container.rotate(kept)
    rig.begin()
    rig.settle(10)
    write_parts(container, 5)
    rig.drain()

    assert landed_payloads(rig) == [entry.payload for entry in container.written]
    assert "gap" not in rig.kinds()


@pytest.mark.parametrize("landed", [CONTEXT_LINES - 1, 300])
def test_a_log_that_begins_with_parts_that_may_be_others(
    rig: CaptureRig, container: FakeContainer, landed: int
) -> None:
    """Few have landed, or they come again and again: these may be landed ones or later ones. None is landed twice, and a gap is told."""
    for number in range(landed):
        write_parts(container, 1, b"frame %d of the spinner" % (number % (CONTEXT_LINES - 1)))
    rig.settle(1)

    rig.kill()
    container.rotate(5)
    rig.begin()
    rig.settle(10)
    write_parts(container, 5)
    rig.drain()

    assert landed_payloads(rig) == [entry.payload for entry in container.written]
    assert rig.kinds().count("gap") == 1


def test_parts_of_two_streams_behind_whole_lines_that_are_gone(rig: CaptureRig, container: FakeContainer) -> None:
    """The whole lines make the landed end certain, and the log has lost them: it is not landed again at every read."""
    for number in range(2):
        container.write(b"whole %d\n" % number, stream="stderr")
    for number in range(7):
        container.write(b"out %d" % number, timestamp=MOMENT)
    rig.settle(1)

    rig.kill()
    container.rotate(5)
    for number in range(7):
        container.write(b"err %d" % number, stream="stderr", timestamp=MOMENT)
    rig.begin()
    rig.settle(60)
    rig.drain()

    assert rig.kinds().count("gap") == 1
    assert landed_payloads(rig) == [entry.payload.rstrip(b"\n") for entry in container.written]


def test_what_follows_a_gap_is_what_the_log_begins_with(rig: CaptureRig, container: FakeContainer) -> None:
    """The whole lines before it make no end certain any more, for they are not in the log before what follows."""
    for number in range(40):
        container.write(b"whole %d\n" % number)
    rig.settle(1)

    rig.kill()
    container.rotate(0)
    write_parts(container, 7)
    rig.begin()
    rig.settle(30)
    for _ in range(2):
        rig.kill()
        rig.begin()
        write_parts(container, 3)
        rig.settle(30)
    rig.drain()

    assert rig.kinds().count("gap") == 1
    assert landed_payloads(rig) == [entry.payload.rstrip(b"\n") for entry in container.written]


def test_a_log_that_begins_with_many_parts_after_a_restart(rig: CaptureRig, container: FakeContainer) -> None:
    """Half a megabyte does not come again byte by byte: they are the landed ones."""
    write_parts(container, 300)
    rig.settle(1)

    rig.kill()
    container.rotate(CONTEXT_LINES)
    write_parts(container, 5)
    rig.begin()
    rig.drain()

    assert landed_payloads(rig) == [entry.payload for entry in container.written]
    assert "gap" not in rig.kinds()


def test_parts_of_which_none_is_left_are_a_gap(rig: CaptureRig, container: FakeContainer) -> None:
    """All that the log holds is landed."""
    write_parts(container, 300)
    rig.settle(1)

    rig.kill()
    write_parts(container, 50)
    container.rotate(20)
    rig.begin()
    rig.drain()

    written = [entry.payload for entry in container.written]
    assert landed_payloads(rig) == written[:300] + written[-20:]
    assert rig.kinds().count("gap") == 1
