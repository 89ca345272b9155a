"""Which logs of a cluster are captured: hosts and containers that come, go and change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeDockerEngine, FakeShell, make_controller, make_slice
from iris_core import engine_channel
from iris_core.cluster_capture import ClusterCapture
from iris_core.config import LogConfig
from iris_core.errors import LogFileError
from iris_core.log_file import LandedFile
from iris_core.model import HostRole, Slice

if TYPE_CHECKING:
    from pathlib import Path

    from iris_core.log_events import LogEvent
    from iris_core.model import ControllerVm

LABEL = {"iris.managed": "true"}
ONE = make_slice("s", hosts=2)
CONTROLLER = make_controller()


class ClusterRig:
    """A capture of a cluster whose hosts each have an engine of their own, driven by hand in fake time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.shell = FakeShell()
        self.clock = FakeClock()
        self.events: list[LogEvent] = []
        self.engines: dict[str, FakeDockerEngine] = {}
        self.capture: ClusterCapture

    def begin(self, *, fresh: bool = False, label: str | None = "iris.managed=true") -> None:
        self.capture = ClusterCapture(
            config=LogConfig(container_label=label),
            shell=self.shell,
            clock=self.clock,
            output_dir=self.directory,
            containers={HostRole.CONTROLLER: "boss", HostRole.WORKER: "hand"},
            on_event=self.events.append,
            fresh=fresh,
        )

    def engine(self, host: str) -> FakeDockerEngine:
        if host not in self.engines:
            self.engines[host] = FakeDockerEngine()
            self.shell.script(self.engines[host].script(host))
        return self.engines[host]

    def adopt(self, *slices: Slice, controller: ControllerVm | None = None) -> None:
        self.capture.adopt(slices, controller)

    def settle(self, seconds: float = 3.0) -> None:
        until = self.clock.monotonic() + seconds
        for _ in range(10_000):
            wait = self.capture.pump.step()
            now = self.clock.monotonic()
            if wait == 0:
                continue
            if wait is None or now + wait > until:
                self.clock.advance(until - now)
                return
            self.clock.advance(wait)
        raise AssertionError("the pump does not come to rest")

    def stop(self) -> None:
        self.capture.drain()
        self.settle(11)
        assert self.capture.pump.slots == []
        assert self.shell.running() == []

    def freed(self) -> bool:
        return self.capture.freed

    def landed(self) -> dict[str, bytes]:
        """What has landed, by source; empty files left out."""
        return {
            str(path.relative_to(self.directory).with_suffix("")): path.read_bytes()
            for path in sorted(self.directory.rglob("*.txt"))
            if path.stat().st_size
        }

    def kill(self) -> None:
        """End at once, as by `kill -9`."""
        for slot in list(self.capture.pump.slots):
            slot.inbox.close()
            slot.landing.close()

    def kinds(self, source: str) -> list[str]:
        return [event.kind.value for event in self.events if event.source == source]


@pytest.fixture
def rig(tmp_path: Path) -> ClusterRig:
    rig = ClusterRig(tmp_path / "logs")
    rig.begin()
    return rig


def test_every_host_lands_in_its_own_file(rig: ClusterRig) -> None:
    """The controller, both hosts of a slice, and what bears the label on each."""
    expected = {}
    for host, main, source in (
        ("iris-controller-iris", "boss", "controller-logs"),
        ("s-w0", "hand", "workers/s-w0"),
        ("s-w1", "hand", "workers/s-w1"),
    ):
        # The main container bears the label too, as iris itself starts it: it is landed once.
        expected[source] = rig.engine(host).create(main, labels=LABEL).write(host.encode() + b"\n").landed
        expected[f"containers/{host}/side"] = rig.engine(host).create("side", labels=LABEL).write(b"side\n").landed
        rig.engine(host).create("foreign").write(b"not ours\n")
    rig.adopt(ONE, controller=CONTROLLER)
    rig.settle()
    assert rig.landed() == expected
    assert list(rig.capture.discovered_workers) == ["s-w0", "s-w1"]
    rig.stop()
    assert rig.landed() == expected
    assert rig.capture.problems == []


def test_no_label_means_no_others(tmp_path: Path) -> None:
    """Without a label nothing is listed."""
    rig = ClusterRig(tmp_path)
    rig.begin(label=None)
    rig.engine("s-w0").create("side", labels=LABEL).write(b"side\n")
    rig.adopt(ONE)
    rig.settle()
    assert rig.landed() == {}
    assert not [target for target in rig.engine("s-w0").requests if "containers/json" in target]


def test_an_answer_that_says_nothing_new_changes_nothing(rig: ClusterRig) -> None:
    """Looking again and again starts no second channel and opens no second file."""
    rig.engine("s-w0").create("hand")
    rig.engine("s-w1").create("hand")
    rig.adopt(ONE)
    rig.settle()
    before = len(rig.shell.started)
    for _ in range(50):
        rig.adopt(ONE)
    rig.settle(1)
    assert len(rig.shell.started) == before
    assert len(rig.capture.pump.slots) == 4


def test_a_host_that_is_gone_is_drained_told_and_let_go(rig: ClusterRig) -> None:
    """Its last lines are taken if it still answers; then its channels and files are closed, whether it does or not."""
    w0, w1 = (rig.engine(name).create("hand") for name in ("s-w0", "s-w1"))
    rig.adopt(ONE)
    rig.settle()
    rig.shell.break_host("s-w1")
    rig.shell.drop("s-w1")
    last = w0.write(b"last words\n")
    w1.write(b"nobody hears\n")
    rig.adopt()
    rig.settle(6)
    assert rig.landed() == {"workers/s-w0": last.landed}
    assert rig.kinds("workers/s-w0")[-2:] == ["host-gone", "drained"]
    assert "host-gone" in rig.kinds("workers/s-w1")
    assert rig.kinds("workers/s-w1")[-1] == "not-drained"
    assert rig.capture.pump.slots == []
    assert list(rig.capture.discovered_workers) == ["s-w0", "s-w1"]
    LandedFile(rig.directory / "workers" / "s-w0.txt").close()


def test_a_slice_created_anew_under_its_name_is_another_life_in_the_file(rig: ClusterRig) -> None:
    """Google's id tells that it is another machine: the old one ends, the new one goes on in the same file, marked."""
    old = rig.engine("s-w0").create("hand").write(b"old\n")
    rig.adopt(ONE)
    rig.settle()
    rig.shell.drop("s-w0")
    rig.engines["s-w0"] = FakeDockerEngine()
    rig.shell.script(rig.engines["s-w0"].script("s-w0"))
    rig.engine("s-w0").create("other-id")
    new = rig.engine("s-w0").create("hand").write(b"new\n")
    reborn = make_slice("s", hosts=2, life=2)
    rig.adopt(reborn)
    assert not rig.freed()
    rig.settle(6)
    assert rig.freed()
    rig.adopt(reborn)
    assert not rig.freed()
    rig.settle()
    assert rig.landed()["workers/s-w0"] == old.landed + new.landed
    assert {"host-gone", "re-created"} <= set(rig.kinds("workers/s-w0"))
    assert "gap" not in rig.kinds("workers/s-w0")


def test_labelled_containers_begin_and_end(rig: ClusterRig) -> None:
    """Each from its first line; one that is removed is let go, and one that comes again goes on in its file."""
    engine = rig.engine("s-w0")
    rig.adopt(ONE)
    rig.settle()
    first = engine.create("job", labels=LABEL)
    said = first.write(b"one\n").landed
    rig.settle()
    assert rig.landed() == {"containers/s-w0/job": said}
    first.stop()
    rig.settle(5)
    engine.remove(first)
    rig.settle(10)
    assert rig.kinds("containers/s-w0/job")[-1] == "drained"
    LandedFile(rig.directory / "containers" / "s-w0" / "job.txt").close()
    again = engine.create("job", labels=LABEL).write(b"two\n").landed
    rig.settle(5)
    assert rig.landed() == {"containers/s-w0/job": said + again}
    rig.stop()


def test_a_container_that_comes_again_while_its_predecessor_is_taken_leave_of_is_not_forgotten(
    rig: ClusterRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine tells of it once, when the file is still in use; it is captured as soon as that is free."""
    monkeypatch.setattr(engine_channel, "_REMEMBER_SECONDS", 4.0)
    engine = rig.engine("s-w0")
    engine.forgets = True  # so that it takes these seconds to try to verify the end of the first
    rig.adopt(ONE)
    rig.settle()
    first = engine.create("job", labels=LABEL)
    said = first.write(b"one\n").landed
    first.stop()
    rig.settle(5)
    engine.remove(first)
    rig.settle(1.5)
    again = engine.create("job", labels=LABEL).write(b"two\n").landed
    rig.settle(2)
    assert not rig.freed()
    rig.settle(4)
    assert rig.freed()
    rig.adopt(ONE)
    assert not rig.freed()
    rig.settle(6)
    assert rig.landed() == {"containers/s-w0/job": said + again}
    rig.stop()


class TestLabelledContainersOfAnEarlierIris:
    """What was captured when iris ended, and is not listed any more when the next one begins."""

    def test_one_that_was_removed_meanwhile_is_told_of(self, rig: ClusterRig) -> None:
        """Once, whatever bears its name now: without the label that is nobody's business."""
        engine = rig.engine("s-w0")
        side = engine.create("side", labels=LABEL)
        said = side.write(b"one\n").landed
        rig.adopt(ONE)
        rig.settle()
        rig.kill()
        side.write(b"Traceback\n")
        engine.remove(side)
        engine.create("side").write(b"not ours\n")
        for _ in range(2):
            rig.begin()
            rig.adopt(ONE)
            rig.settle(10)
            rig.stop()
        assert rig.landed() == {"containers/s-w0/side": said}
        assert rig.kinds("containers/s-w0/side").count("unverified-tail") == 1
        LandedFile(rig.directory / "containers" / "s-w0" / "side.txt").close()

    def test_one_that_comes_again_goes_on_in_its_file(self, rig: ClusterRig) -> None:
        """Also while its predecessor is taken leave of."""
        engine = rig.engine("s-w0")
        side = engine.create("side", labels=LABEL)
        one = side.write(b"one\n").landed
        rig.adopt(ONE)
        rig.settle()
        rig.kill()
        engine.remove(side)
        rig.begin()
        rig.adopt(ONE)
        rig.settle(1)
        two = engine.create("side", labels=LABEL).write(b"two\n").landed
        rig.settle(5)
        rig.adopt(ONE)
        rig.settle(5)
        assert rig.landed() == {"containers/s-w0/side": one + two}
        rig.stop()

    def test_one_that_had_ended_is_left_alone(self, rig: ClusterRig) -> None:
        """So is one that is listed, one that another process captures, and every one where new files are begun."""
        engine = rig.engine("s-w0")
        ended, held, _ = (engine.create(name, labels=LABEL) for name in ("ended", "held", "there"))
        for container in (ended, held):
            container.write(b"one\n")
        ended.stop()
        rig.adopt(ONE)
        rig.settle(5)
        rig.kill()
        engine.remove(ended)
        engine.remove(held)
        file = LandedFile(rig.directory / "containers" / "s-w0" / "held.txt")
        rig.events.clear()
        for fresh in (False, True):
            rig.begin(fresh=fresh)
            rig.adopt(ONE)
            rig.settle(5)
            rig.stop()
        file.close()
        assert {event.source for event in rig.events if event.source.startswith("containers")} == {
            "containers/s-w0/there"
        }
        assert [problem for problem in rig.capture.problems if "s-w0" in problem] == []


def test_a_renamed_container_lands_anew_under_its_new_name(rig: ClusterRig) -> None:
    """A limit, told in docs/logs.md: its old name, and so its old file, may be another one's at once."""
    side = rig.engine("s-w0").create("side", labels=LABEL)
    one = side.write(b"one\n").landed
    rig.adopt(ONE)
    rig.settle()
    side.name = "renamed"
    two = side.write(b"two\n").landed
    other = rig.engine("s-w0").create("side", labels=LABEL).write(b"other\n").landed
    rig.settle(70)
    assert rig.landed() == {"containers/s-w0/renamed": one + two, "containers/s-w0/side": one + two + other}


def test_containers_of_one_name_on_two_hosts_do_not_meet(rig: ClusterRig) -> None:
    """The same name on every host is the usual case."""
    a = rig.engine("s-w0").create("job", labels=LABEL).write(b"a\n").landed
    b = rig.engine("s-w1").create("job", labels=LABEL).write(b"b\n").landed
    rig.adopt(ONE)
    rig.settle()
    assert rig.landed() == {"containers/s-w0/job": a, "containers/s-w1/job": b}


def test_a_refused_file_is_told_once_and_stops_no_other(rig: ClusterRig) -> None:
    """Another process has one worker's file and one container's: those are told, the others land, and stop says so again."""
    held = [LandedFile(rig.directory / name) for name in ("workers/s-w0.txt", "containers/s-w1/side.txt")]
    rig.engine("s-w0").create("hand").write(b"lost\n")
    landed = rig.engine("s-w1").create("hand").write(b"kept\n").landed
    rig.engine("s-w1").create("side", labels=LABEL).write(b"lost\n")
    for _ in range(5):
        rig.adopt(ONE)
        rig.settle()
    assert rig.landed() == {"workers/s-w1": landed}
    assert len(rig.capture.problems) == 2
    assert rig.capture.problems[0].startswith("s-w0: Another process captures into")
    assert rig.capture.problems[1].startswith("s-w1: side: Another process captures into")
    for file in held:
        file.close()
    rig.engine("s-w0").create("late", labels=LABEL)
    rig.adopt(ONE)
    rig.settle(70)
    assert set(rig.landed()) == {"workers/s-w0", "workers/s-w1", "containers/s-w1/side"}
    assert rig.capture.problems == []


def test_a_refused_file_of_a_container_is_tried_again_at_the_next_answer(rig: ClusterRig) -> None:
    """As a host's is: not at the next list of its containers, which comes after a quarter of an hour."""
    held = LandedFile(rig.directory / "containers" / "s-w0" / "side.txt")
    said = rig.engine("s-w0").create("side", labels=LABEL).write(b"x\n").landed
    rig.adopt(ONE)
    for _ in range(200):
        rig.adopt(ONE)
        rig.settle(10)
    held.close()
    rig.adopt(ONE)
    rig.settle(1)
    assert rig.landed() == {"containers/s-w0/side": said}
    assert rig.capture.problems == []


@pytest.mark.parametrize("name", ["../x", "", "a/b", "a\nb", "x" * 300])
def test_a_name_that_would_leave_the_directory_is_told(rig: ClusterRig, name: str) -> None:
    """What the cloud calls a host is not trusted: it is told, and the others are captured."""
    rig.engine("s-w0").create("hand").write(b"x\n")
    bad = make_slice("t")
    [host] = bad.hosts
    rig.adopt(replace(bad, hosts=(replace(host, name=name),)), ONE)
    rig.settle()
    assert list(rig.landed()) == ["workers/s-w0"]
    [problem] = rig.capture.problems
    assert "cannot be a file's name" in problem
    assert {path.name for path in rig.directory.parent.iterdir()} == {"logs"}


def test_fresh_begins_beside_what_is_there(rig: ClusterRig) -> None:
    """Files of an earlier capture are left as they are; the new ones hold the whole log, also of a host that was away."""
    said = rig.engine("s-w0").create("hand").write(b"x\n").landed
    rig.adopt(ONE)
    rig.settle()
    rig.stop()
    rig.begin(fresh=True)
    rig.adopt(ONE)
    rig.settle()
    rig.adopt()
    rig.settle(6)
    rig.adopt(ONE)
    rig.settle()
    rig.stop()
    assert rig.landed() == {"workers/s-w0": said, "workers/s-w0~2": said}


def test_a_listener_that_fails_loses_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in the user's callback is logged; the capture goes on."""
    rig = ClusterRig(tmp_path)

    def fails(event: LogEvent) -> None:
        raise RuntimeError(f"no use for {event}")

    rig.capture = ClusterCapture(
        config=LogConfig(),
        shell=rig.shell,
        clock=rig.clock,
        output_dir=tmp_path,
        containers={HostRole.CONTROLLER: "boss", HostRole.WORKER: "hand"},
        on_event=fails,
    )
    said = rig.engine("s-w0").create("hand").write(b"x\n").landed
    rig.adopt(ONE)
    rig.settle()
    rig.stop()
    assert rig.landed() == {"workers/s-w0": said}
    assert "on_event" in caplog.text


def test_drain_is_bounded_and_names_what_was_not_had(rig: ClusterRig) -> None:
    """Dead hosts and live ones: after the config's seconds all is over, and each that failed is named."""
    rig.engine("s-w1").create("hand")
    rig.shell.break_host("s-w0")
    rig.adopt(ONE)
    rig.settle()
    begun = rig.clock.monotonic()
    rig.capture.drain()
    rig.capture.pump.step()
    while rig.capture.pump.slots:
        rig.settle(0.5)
    assert rig.clock.monotonic() - begun <= LogConfig().drain_seconds + 0.5
    [problem] = rig.capture.problems
    assert problem.startswith("workers/s-w0: not-drained")


def test_a_directory_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    """Before anything is started."""
    (tmp_path / "file").write_text("")
    rig = ClusterRig(tmp_path / "file")
    with pytest.raises(LogFileError, match="file"):
        rig.begin()
    assert rig.shell.started == []


def test_a_day_of_preemptions_does_not_end_in_an_endless_warning(rig: ClusterRig) -> None:
    """Of the hosts that could not be drained a hundred are named, and the others counted."""
    many = make_slice("many", hosts=120)
    for host in many.hosts:
        rig.shell.break_host(host.name)
    rig.adopt(many)
    rig.settle()
    rig.adopt()
    rig.settle(10)
    assert len(rig.capture.problems) == 101
    assert rig.capture.problems[-1].startswith("and 20 more")
    assert rig.freed()
    rig.adopt()
    assert not rig.freed()


class TestTheLabelWhenAllEnds:
    """What bears the label at the end is landed, or it is told that it was not: also where nobody had heard of it yet."""

    def test_an_end_before_the_first_list_waits_for_it(self, rig: ClusterRig) -> None:
        """Stopped in its first second, it lands what an earlier iris had landed in part, and what nobody has heard of."""
        hand = rig.engine("s-w0").create("hand", labels=LABEL).write(b"main\n").landed
        side = rig.engine("s-w0").create("side", labels=LABEL).write(b"side\n").landed
        rig.engine("s-w1")
        rig.adopt(ONE)
        rig.stop()
        assert rig.landed() == {"workers/s-w0": hand, "containers/s-w0/side": side}
        assert rig.kinds("containers/s-w0/side").count("drained") == 1
        assert rig.capture.problems == []

    def test_a_change_that_was_told_is_looked_at(self, rig: ClusterRig) -> None:
        """Between the change and the list that shows it there is a second, as a rule."""
        engine = rig.engine("s-w0")
        rig.adopt(ONE)
        rig.settle()
        side = engine.create("side", labels=LABEL).write(b"side\n").landed
        rig.capture.pump.step()
        rig.stop()
        assert rig.landed() == {"containers/s-w0/side": side}

    def test_what_was_known_is_not_begun_anew(self, rig: ClusterRig) -> None:
        """The list that the end waits for shows containers whose logs are captured, too."""
        engine = rig.engine("s-w0")
        one = engine.create("one", labels=LABEL).write(b"one\n").landed
        rig.adopt(ONE)
        rig.settle()
        two = engine.create("two", labels=LABEL).write(b"two\n").landed
        rig.capture.pump.step()
        rig.stop()
        assert rig.landed() == {"containers/s-w0/one": one, "containers/s-w0/two": two}
        assert rig.kinds("containers/s-w0/one").count("drained") == 1

    def test_a_host_that_comes_back_in_time_is_asked(self, rig: ClusterRig) -> None:
        """What was created while it could not be reached is landed."""
        engine = rig.engine("s-w0")
        rig.adopt(ONE)
        rig.settle()
        rig.shell.break_host("s-w0")
        rig.shell.drop("s-w0")
        rig.settle(30)
        side = engine.create("side", labels=LABEL).write(b"side\n").landed
        rig.capture.drain()
        rig.settle(3)
        rig.shell.heal_host("s-w0")
        rig.settle(7)
        assert rig.capture.pump.slots == []
        assert rig.landed() == {"containers/s-w0/side": side}

    def test_a_list_that_never_comes_is_told(self, rig: ClusterRig) -> None:
        """The host answers, only this is not known: whose logs there were to be landed."""
        rig.engine("s-w0").create("side", labels=LABEL).write(b"side\n")
        rig.engine("s-w0").unanswered = "/containers/json"
        rig.engine("s-w1")
        rig.adopt(ONE)
        rig.settle()
        rig.stop()
        assert rig.capture.problems == [
            "s-w0: containers: not-drained (reason: which containers bear the label was not answered in time)"
        ]

    def test_a_refused_list_is_told_once(self, rig: ClusterRig) -> None:
        """There is nothing to wait for."""
        rig.engine("s-w0").refuse_lists = "bad label"
        rig.engine("s-w1")
        rig.adopt(ONE)
        rig.capture.drain()
        rig.settle(1)
        assert rig.capture.pump.slots == []
        assert rig.kinds("s-w0: containers") == ["unreadable"]

    def test_a_container_found_late_has_what_is_left_of_the_time(self, rig: ClusterRig) -> None:
        """The end of all is not put off by what is found on the way there."""
        side = rig.engine("s-w0").create("side", labels=LABEL)
        side.write(b"side\n")
        rig.engine("s-w0").unanswered = "/logs"
        rig.engine("s-w1")
        rig.adopt(ONE)
        rig.capture.drain()
        rig.settle(LogConfig().drain_seconds - 0.5)
        assert len(rig.capture.pump.slots) == 1
        rig.settle(0.6)
        assert rig.capture.pump.slots == []
        [problem] = rig.capture.problems
        assert problem.startswith("containers/s-w0/side: not-drained")

    def test_a_host_that_goes_at_once_is_listed_first(self, rig: ClusterRig) -> None:
        """A slice may be deleted in the second in which it was found."""
        side = rig.engine("s-w0").create("side", labels=LABEL).write(b"side\n").landed
        rig.engine("s-w1")
        rig.adopt(ONE)
        rig.capture.let_go("s", "preempted")
        rig.settle(6)
        assert rig.capture.has_let_go("s")
        assert rig.landed() == {"containers/s-w0/side": side}


def test_a_fault_in_one_log_costs_no_other_and_is_told_at_the_end(
    rig: ClusterRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A labelled container's capture breaks off: it is not begun anew at once, again and again, and the others go on."""
    engine = rig.engine("s-w0")
    main = engine.create("hand")
    side = engine.create("side", labels=LABEL)
    rig.engine("s-w1").create("hand")
    rig.adopt(ONE)
    rig.settle()

    def fails(file: LandedFile, data: bytes) -> None:
        if file.path.name == "side.txt":
            raise ZeroDivisionError("a fault")
        append(file, data)

    append = LandedFile.append
    with monkeypatch.context() as patch:
        patch.setattr(LandedFile, "append", fails)
        side.write(b"side\n")
        rig.settle()
        assert rig.kinds("containers/s-w0/side")[-1] == "not-drained"
        assert not rig.freed()
        said = main.write(b"main\n")
        rig.settle()
        assert rig.landed() == {"workers/s-w0": said.landed}
    more = engine.create("more", labels=LABEL).write(b"more\n")  # at the next change it is begun anew
    rig.settle(10)
    rig.stop()
    assert rig.landed() == {
        "workers/s-w0": said.landed,
        "containers/s-w0/side": side.written[0].landed,
        "containers/s-w0/more": more.landed,
    }
    [problem] = rig.capture.problems
    assert "side" in problem
    assert "ZeroDivisionError" in problem
