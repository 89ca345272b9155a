"""`iris status`, `down` and `cleanup`: what they print, what they delete, what they leave alone."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import typer

from iris_adapters.cli.durations import parse_seconds, span_text
from iris_adapters.fakes import FakeInventory, make_controller, make_queued_slice, make_slice
from iris_core.errors import (
    CleanupIncompleteError,
    ClusterMisfitError,
    InventoryToolError,
    NotYoursError,
    ResourceExistsError,
)
from iris_core.model import Hardware, VmPhase
from tests.unit.cli.rig import CONTROLLER, GCP

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import Resource, Slice
    from tests.unit.cli.rig import Rig

SLICES = (
    "workers: [{name: tpu, count: 2, accelerator_type: v5litepod-16, runtime_version: v, container: {command: []}}]\n"
)
PRICES = "prices: {e2-standard-4: 0.5, v5litepod-16: 1}\n"


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def slice_of(owner: str) -> Slice:
    return make_slice(
        f"iris-tpu-{owner}",
        group="tpu",
        owner=owner,
        created_at=hours_ago(2),
        hardware=Hardware(accelerator_type="v5litepod-16", spot=False),
    )


@pytest.fixture
def shared(rig: Rig) -> Rig:
    """A cluster with a controller and a slice of mine, and a slice of bob's."""
    rig.inventory = FakeInventory(
        controller=make_controller(owner="me", machine_type="e2-standard-4", created_at=hours_ago(4)),
        slices=[slice_of("me"), slice_of("bob")],
    )
    return rig


class TestStatus:
    def test_owner_age_and_cost(self, shared: Rig) -> None:
        """Costs only with prices, and of what is priced."""
        _, out, err = shared.run("status", "-c", shared.config)
        assert "COST" not in out
        assert "cost" not in err
        shared.config.write_text(GCP + PRICES)
        _, out, err = shared.run("status", "-c", shared.config)
        assert out.splitlines()[1].split()[-5:] == ["me", "4h", "0m", "0.50", "2.00"]
        assert [line.split()[-5:] for line in out.splitlines()[2::2]] == [
            [owner, "2h", "0m", "1.00", "2.00"] for owner in ("bob", "me")
        ]
        assert "2.50 an hour, 6.00 until now" in err

    def test_the_json_has_what_the_page_says(self, shared: Rig) -> None:
        """Every key of docs/status.md, and no other."""
        shared.inventory.put_queued(make_queued_slice("iris-tpu-queued", problem="no capacity", owner="me"))
        _, out, _ = shared.run("status", "-c", shared.config, "-o", "json")
        values = json.loads(out)
        assert list(values) == [
            *("at", "label_prefix", "project_id", "zone", "controller", "slices", "requests", "cost", "sources")
        ]
        common = [
            *("name", "phase", "state", "zone", "owner", "created_at", "age_seconds", "expires_at", "price_per_hour"),
            *("cost", "labels"),
        ]
        hardware = ["group", "accelerator_type", "runtime_version", "spot"]
        assert list(values["controller"]) == [*common, "machine_type", "address", "port", "instance_id", "stream"]
        assert list(values["slices"][0]) == [*common, *hardware, "instance_id", "hosts"]
        assert list(values["slices"][0]["hosts"][0]) == ["name", "address", "state", "stream"]
        assert list(values["requests"][0]) == [*common, *hardware, "problem"]
        assert values["cost"] == {"per_hour": None, "until_now": None, "not_priced": ["e2-standard-4", "v5litepod-16"]}
        assert values["sources"] is None

    def test_hosts_have_rows_where_there_are_few(self, rig: Rig) -> None:
        """With their slice's state; the options say otherwise."""
        rig.inventory = FakeInventory(slices=[make_slice("iris-tpu-1", hosts=33)])
        few, all_of_them = rig.run("status", "-c", rig.config), rig.run("status", "-c", rig.config, "--hosts")
        assert (len(few[1].splitlines()), len(all_of_them[1].splitlines())) == (2, 35)
        assert few[1].splitlines()[1].split() == ["iris-tpu-1", "slice", "ready", "(READY)", "33"]
        rig.inventory = FakeInventory(slices=[make_slice("iris-tpu-1", hosts=2, phase=VmPhase.FAILED)])
        rows = rig.run("status", "-c", rig.config)[1].splitlines()[2:]
        assert [row.split()[:4] for row in rows] == [
            [f"iris-tpu-1-w{index}", "host", "failed", "(PREEMPTED)"] for index in range(2)
        ]
        assert len(rig.run("status", "-c", rig.config, "--no-hosts")[1].splitlines()) == 2

    def test_what_streams_with_a_log_dir(self, cluster: Rig, tmp_path: Path) -> None:
        """From the record that another iris writes; here one that has ended."""
        cluster.engine.create("iris-controller").write(b"hello\n")
        cluster.engine.create("iris-worker").stop(137, oom_killed=True)
        cluster.run("logs", "collect", tmp_path / "logs", "-c", cluster.config)
        _, out, _ = cluster.run("status", "-c", cluster.config, "--log-dir", tmp_path / "logs")
        rows = [line.split() for line in out.splitlines()]
        assert ["controller-logs", "not-captured"] in [row[:2] for row in rows]
        assert ["workers/iris-tpu-1-w1", "oom-killed"] in [row[:2] for row in rows]
        _, out, _ = cluster.run("status", "-c", cluster.config, "--log-dir", tmp_path / "logs", "-o", "json")
        assert json.loads(out)["slices"][0]["hosts"][1]["stream"] == "oom-killed"
        worker = json.loads(out)["sources"][1]
        assert list(worker) == [
            *("source", "host", "state", "why", "silent_seconds", "exit_code", "oom_killed", "restarts", "gaps"),
            *("container", "changed_at", "path"),
        ]
        assert (worker["host"], worker["exit_code"], worker["oom_killed"]) == ("iris-tpu-1-w0", 137, True)

    def test_a_log_dir_that_is_none_is_an_error(self, cluster: Rig, tmp_path: Path) -> None:
        """A typo is told."""
        assert cluster.run("status", "-c", cluster.config, "--log-dir", tmp_path / "nowhere")[0] == 32


class TestDown:
    def test_somebody_elses_needs_an_explicit_word(self, shared: Rig) -> None:
        """Mine is deleted, theirs is left alone, and that is no success; `--owner any` deletes it."""
        code, _, err = shared.run("down", "-c", shared.config)
        assert code == NotYoursError.exit_code
        assert "iris-tpu-bob: it belongs to bob" in err
        assert "--owner any" in err
        assert shared.inventory.names() == ["iris-tpu-bob"]
        assert shared.run("down", "-c", shared.config, "--owner", "any")[0] == 0
        assert shared.inventory.names() == []

    def test_what_is_not_there_is_a_success(self, rig: Rig) -> None:
        """Also the second time."""
        code, _, err = rig.run("down", "-c", rig.config)
        assert (code, err) == (0, "Nothing of the cluster iris is left in us-central1-a.\n")

    @pytest.mark.parametrize("deletes", [True, False])
    def test_what_is_in_another_zone_is_named(self, cluster: Rig, *, deletes: bool) -> None:
        """A configuration whose zone was changed: what bears the name elsewhere is left alone, but not passed over in silence."""
        mine, bobs = (replace(slice_of(owner), zone="us-east1-b") for owner in ("me", "bob"))
        here = [cluster.inventory.find_controller()] if deletes else []
        cluster.inventory = FakeInventory(controller=here[0] if here else None, elsewhere=[mine, bobs])
        code, _, err = cluster.run("down", "-c", cluster.config, "--no-black-box")
        assert (code, cluster.inventory.names()) == (0, ["iris-tpu-bob", "iris-tpu-me"])
        assert "Nothing of the cluster iris is left in us-central1-a." in err
        assert (
            "In other zones there is, and costs money: iris-tpu-me (us-east1-b). "
            f"See `iris cleanup -c {cluster.config} --all-zones`." in err
        )

    def test_other_zones_that_do_not_answer_are_no_error(self, cluster: Rig) -> None:
        """The cluster is deleted; where to look is said."""

        class Blind(FakeInventory):
            def list_resources(self, *, all_zones: bool = False) -> Sequence[Resource]:
                if all_zones:
                    raise InventoryToolError("broken")
                return super().list_resources()

        cluster.inventory = Blind(controller=make_controller())
        code, _, err = cluster.run("down", "-c", cluster.config, "--no-black-box")
        assert (code, cluster.inventory.names()) == (0, [])
        assert f"not known; `iris cleanup -c {cluster.config} --all-zones` looks there." in err

    def test_a_black_box_is_captured_first(self, cluster: Rig, tmp_path: Path) -> None:
        """Where one says, or in a directory with the cluster's name; not at all when told so."""
        cluster.engine.create("iris-worker").write(b"last words\n")
        assert cluster.run("down", "-c", cluster.config, "--log-dir", tmp_path / "box")[0] == 0
        assert b"last words" in (tmp_path / "box" / "workers" / "iris-tpu-1-w0.txt").read_bytes()
        assert (tmp_path / "box" / "hosts" / CONTROLLER / "serial.txt").exists()
        cluster.inventory.put_controller(make_controller())
        assert cluster.run("down", "-c", cluster.config, "--no-black-box")[0] == 0
        assert not list(tmp_path.glob("iris-black-box-*"))
        cluster.inventory.put_controller(make_controller())
        _, _, err = cluster.run("down", "-c", cluster.config)
        assert [str(path.name) in err for path in tmp_path.glob("iris-black-box-iris-*")] == [True]

    def test_a_host_that_says_nothing_does_not_stop_it(self, cluster: Rig) -> None:
        """It is told, and deleted."""
        cluster.config.write_text(GCP + "logs: {black_box_seconds: 0.4}\n")
        cluster.unreachable = ("iris-tpu-1-w1",)
        code, _, err = cluster.run("down", "-c", cluster.config)
        assert (code, cluster.inventory.names()) == (0, [])
        assert "Not captured: iris-tpu-1-w1: inspect.json" in err

    def test_where_nothing_can_be_captured_it_deletes_all_the_same(self, cluster: Rig, tmp_path: Path) -> None:
        """A full disk, or a directory that cannot be made: that is told, and is no reason to pay on."""
        (tmp_path / "file").write_text("")
        code, _, err = cluster.run("down", "-c", cluster.config, "--log-dir", tmp_path / "file" / "box")
        assert (code, cluster.inventory.names()) == (0, [])
        assert "Nothing is captured before the deletion: " in err
        assert "file/box" in err

    def test_what_is_left_is_named(self, rig: Rig) -> None:
        """Asked for again after deleting; the exit is an error."""
        rig.inventory = FakeInventory(controller=make_controller(), undeletable=[CONTROLLER])
        code, _, err = rig.run("down", "-c", rig.config, "--no-black-box")
        assert code == CleanupIncompleteError.exit_code
        assert CONTROLLER in err


class TestCleanup:
    def test_the_dry_run_shows_age_owner_and_cost(self, shared: Rig) -> None:
        """And names what is left alone."""
        shared.config.write_text(GCP + PRICES)
        code, out, err = shared.run("cleanup", "-c", shared.config)
        assert code == 0
        assert out.splitlines()[0] == ("iris-tpu-me (READY, us-central1-a, owner me, age 2h 0m, cost about 2.00)")
        assert "iris-tpu-bob is left alone: it belongs to bob." in err
        assert "1.50 an hour, 4.00 until now" in err

    def test_a_price_that_is_missing_is_told(self, shared: Rig) -> None:
        """An estimate that leaves something out says so."""
        shared.config.write_text(GCP + "prices: {e2-standard-4: 0.5}\n")
        assert "Not priced: v5litepod-16." in shared.run("cleanup", "-c", shared.config)[2]

    def test_only_what_is_old(self, shared: Rig) -> None:
        """`--older-than`: the slice is younger than the controller."""
        code, out, err = shared.run("cleanup", "-c", shared.config, "--older-than", "3h", "--no-dry-run")
        assert (code, out) == (0, f"{CONTROLLER} deleted\n")
        assert "iris-tpu-me is left alone: it is not that old." in err

    def test_somebody_elses_stay_and_that_is_fine(self, shared: Rig) -> None:
        """A clean-up cleans up what is mine."""
        assert shared.run("cleanup", "-c", shared.config, "--no-dry-run")[0] == 0
        assert shared.inventory.names() == ["iris-tpu-bob"]

    def test_a_certain_owners(self, shared: Rig) -> None:
        """By the name, written as one likes."""
        assert shared.run("cleanup", "-c", shared.config, "--no-dry-run", "--owner", "Bob")[0] == 0
        assert shared.inventory.names() == [CONTROLLER, "iris-tpu-me"]

    def test_other_zones_when_told(self, rig: Rig) -> None:
        """The same name in another zone is another resource."""
        there = make_controller(owner="me")
        rig.inventory = FakeInventory(elsewhere=[replace(there, host=replace(there.host, zone="europe-west4-b"))])
        assert "nothing" in rig.run("cleanup", "-c", rig.config)[2]
        assert "europe-west4-b" in rig.run("cleanup", "-c", rig.config, "--all-zones")[1]
        assert rig.run("cleanup", "-c", rig.config, "--all-zones", "--no-dry-run")[0] == 0
        assert rig.inventory.names() == []

    def test_a_request_is_deleted_too(self, rig: Rig) -> None:
        """It would cost money as soon as there is capacity."""
        rig.inventory = FakeInventory(queued=[make_queued_slice("iris-tpu-queued", owner="me")])
        assert rig.run("cleanup", "-c", rig.config, "--no-dry-run")[1] == "iris-tpu-queued deleted\n"


class TestWhatIsLeft:
    def test_a_start_that_fails_says_what_runs(self, shared: Rig) -> None:
        """And how to delete it, with the options as they were given."""
        shared.inventory.set_phase(CONTROLLER, VmPhase.FAILED)
        code, _, err = shared.run("up", "-c", shared.config, "--prefix", "iris")
        assert code == 3
        assert f"  {CONTROLLER} (" in err
        assert f"`iris down -c {shared.config} --prefix iris` deletes it." in err

    def test_where_nothing_was_made_nothing_is_said(self, shared: Rig) -> None:
        """What is there under the name is somebody else's: `iris down` would not delete it."""
        shared.inventory.put_controller(make_controller(owner="bob"))
        code, _, err = shared.run("up", "-c", shared.config)
        assert code == ClusterMisfitError.exit_code
        assert "nothing was created" in err
        assert "costs money" not in err

    def test_a_controllers_name_that_is_taken_leaves_the_slices_that_were_made(self, rig: Rig) -> None:
        """They were made at the same time as the VM that could not be."""
        rig.config.write_text(GCP + SLICES)
        rig.inventory.fail_next("ensure_controller", ResourceExistsError("There is such a VM, of another cluster"))
        code, _, err = rig.run("up", "-c", rig.config)
        assert code == ResourceExistsError.exit_code
        assert all(f"  {name} (" in err for name in rig.inventory.names())
        assert len(rig.inventory.names()) == 2

    def test_an_error_that_nobody_foresaw_leaves_as_much(self, rig: Rig) -> None:
        """A full disk, say. It stays the error."""

        class Full(FakeInventory):
            def create_slice(self, group: WorkerGroupConfig) -> Slice:
                if self.names():
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().create_slice(group)

        rig.config.write_text(GCP + SLICES)
        rig.inventory = Full(controller=make_controller())
        with pytest.raises(OSError, match="No space"):
            rig.run("up", "-c", rig.config)
        assert f"  {CONTROLLER} (" in rig.capsys.readouterr().err

    def test_an_interrupted_cleanup_of_all_zones_says_what_is_in_them(self, rig: Rig) -> None:
        """With the command that deletes there."""

        class Interrupted(FakeInventory):
            def delete(self, resource: Resource) -> None:
                raise KeyboardInterrupt(resource.name)

        rig.inventory = Interrupted(elsewhere=[replace(slice_of("me"), zone="us-east1-b")])
        _, _, err = rig.run("cleanup", "-c", rig.config, "--all-zones", "--no-dry-run", "--no-black-box")
        assert "  iris-tpu-me (READY, us-east1-b, me, 2h 0m)" in err
        assert f"`iris cleanup -c {rig.config} --all-zones --no-dry-run` deletes it." in err

    def test_where_that_is_not_known_it_says_so(self, rig: Rig) -> None:
        """The error that ended it stays the exit code."""
        rig.inventory.fail_next("ensure_controller", InventoryToolError("broken"))
        rig.inventory.fail_next("list_resources", InventoryToolError("still broken"))
        code, _, err = rig.run("up", "-c", rig.config)
        assert code == InventoryToolError.exit_code
        assert "is not known; `iris down -c" in err

    def test_where_nothing_is_there_it_says_so(self, rig: Rig) -> None:
        """Nothing to pay for."""
        rig.inventory.fail_next("ensure_controller", InventoryToolError("broken"))
        assert "Nothing of the cluster iris is there in us-central1-a." in rig.run("up", "-c", rig.config)[2]


@pytest.mark.parametrize(
    ("text", "seconds"), [("8h", 28800), ("90m", 5400), ("1d12h", 129600), ("0.5h", 1800), ("10s", 10)]
)
def test_spans_that_people_write(text: str, seconds: float) -> None:
    """Any of the units, together."""
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "8", "h", "8 h", "-8h", "8w"])
def test_spans_that_are_none(text: str) -> None:
    """Refused, with what would be right."""
    with pytest.raises(typer.BadParameter, match="8h"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0s"), (59, "59s"), (3600, "1h 0m"), (3 * 86400 + 3600 * 4 + 5, "3d 4h"), (125, "2m 5s")],
)
def test_spans_that_people_read(seconds: float | None, text: str) -> None:
    """Two units are enough."""
    assert span_text(seconds) == text
