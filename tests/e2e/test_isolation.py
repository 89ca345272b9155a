"""Several clusters and owners in one project, with the real gcloud: each command touches its own, and what it shows is what it does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from iris_core.labels import new_labels
from tests.e2e.iris_process import Iris
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.http_shapes import ApiError, Request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.gcloud_api import GcloudApi

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]

OTHER_ZONE = "europe-west4-b"
FOREIGN = ["somebodys-node", "somebodys-vm"]
NO_RAY = "controller: {container: {image: example/controller, command: [serve]}}\n"  # else a start waits for the token


@pytest.fixture
def iris(gcloud_api: GcloudApi, tmp_path: Path) -> Iris:
    gcloud_api.add_instance("somebodys-vm")
    gcloud_api.add_node("somebodys-node")
    return Iris(gcloud_api, tmp_path)


def add_cluster(iris: Iris, prefix: str, owner: str, *, zone: str = ZONE, number: int = 1) -> list[str]:
    """A controller and a slice, as iris makes them; returns their names, sorted."""
    slice_name = f"{prefix}-tpu-2026010100000{number}"
    labels = new_labels(prefix, owner=owner, expires_at=None)
    iris.api.add_instance(f"iris-controller-{prefix}", labels=labels, zone=zone)
    labels = new_labels(prefix, owner=owner, expires_at=None, group="tpu")
    iris.api.add_node(slice_name, labels=labels, zone=zone)
    return sorted([f"iris-controller-{prefix}", slice_name])


def queue(iris: Iris, name: str, prefix: str, owner: str) -> None:
    """A request for a slice, made without gcloud."""
    labels = new_labels(prefix, owner=owner, expires_at=None, group="tpu")
    parent = f"projects/{PROJECT}/locations/{ZONE}"
    node = {"acceleratorType": "v5litepod-4", "runtimeVersion": "v", "labels": labels}
    body = {"tpu": {"nodeSpec": [{"parent": parent, "nodeId": name, "node": node}]}}
    iris.api.server.dispatch(
        Request(method="POST", path=f"/v2/{parent}/queuedResources", query={"queuedResourceId": name}, body=body)
    )


def test_no_command_touches_another_cluster_or_owner(iris: Iris) -> None:
    """Prefixes `a` and `a-b`, owners alice and bob: seen, started, logged and deleted apart from each other."""
    a, ab = add_cluster(iris, "a", "alice"), add_cluster(iris, "a-b", "bob")
    everything = sorted([*a, *ab, *FOREIGN])
    alice, bob = iris.config("a", "alice", NO_RAY + "logs: {drain_seconds: 0.5}\n"), iris.config("a-b", "bob")
    bob_on_a = iris.config("a", "bob")

    seen = json.loads(iris.run("status", "-c", alice, "-o", "json").stdout)
    assert sorted([seen["controller"]["name"], *(one["name"] for one in seen["slices"])]) == a
    assert (seen["controller"]["owner"], seen["requests"]) == ("alice", [])

    iris.run("logs", "collect", iris.directory / "logs", "-c", alice)
    sources = {path.stem for path in (iris.directory / "logs").rglob("*.txt")}
    assert sources == {"controller-logs", "a-tpu-20260101000001-w0"}

    started = iris.run("up", "-c", alice)
    assert started.returncode == 0, started.stderr
    assert iris.names() == everything  # all of it fits, and is adopted

    planned = iris.run("cleanup", "-c", alice).stdout.splitlines()
    assert sorted(line.split()[0] for line in planned) == a

    for command, code in ((["down", "--no-black-box"], 3), (["up"], 10)):
        refused = iris.run(*command, "-c", bob_on_a)
        assert refused.returncode == code, refused.stderr
        assert "alice" in refused.stderr
    assert iris.run("cleanup", "-c", bob_on_a, "--no-dry-run").returncode == 0
    assert iris.names() == everything

    down = iris.run("down", "-c", alice, "--no-black-box")
    assert down.returncode == 0, down.stderr
    assert iris.names() == sorted([*ab, *FOREIGN])
    cleanup = iris.run("cleanup", "-c", bob, "--no-dry-run", "--no-black-box")
    assert cleanup.returncode == 0, cleanup.stderr
    assert iris.names() == FOREIGN


def test_somebody_elses_is_deleted_when_told(iris: Iris) -> None:
    """Requests for slices, too; what is not there is a success."""
    add_cluster(iris, "a", "alice")
    iris.api.queue.has_capacity = False
    queue(iris, "a-tpu-20260101000009", "a", "alice")
    bob_on_a = iris.config("a", "bob")
    down = iris.run("down", "-c", bob_on_a, "--owner", "any", "--no-black-box")
    assert down.returncode == 0, down.stderr
    assert iris.names() == FOREIGN
    assert iris.run("down", "-c", bob_on_a).returncode == 0


def test_the_plan_over_all_zones_is_what_is_carried_out(iris: Iris) -> None:
    """Two zones; without the option only one of them."""
    here, there = add_cluster(iris, "a", "alice"), add_cluster(iris, "a", "alice", zone=OTHER_ZONE, number=2)
    add_cluster(iris, "a-b", "alice", zone=OTHER_ZONE)
    alice = iris.config("a", "alice")
    before = iris.names()
    planned = iris.run("cleanup", "-c", alice, "--all-zones")
    assert sorted(line.split()[0] for line in planned.stdout.splitlines()) == sorted([*here, *there])
    assert planned.stdout.count(OTHER_ZONE) == 2
    assert iris.names() == before
    done = iris.run("cleanup", "-c", alice, "--all-zones", "--no-dry-run", "--no-black-box")
    assert done.returncode == 0, done.stderr
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == sorted([*here, *there])
    assert iris.names() == sorted(
        [*FOREIGN, f"a-b-tpu-20260101000001@{OTHER_ZONE}", f"iris-controller-a-b@{OTHER_ZONE}"]
    )


def test_what_is_left_is_named_and_an_error(iris: Iris) -> None:
    """The cloud refuses one deletion; the other is done, and the list afterwards tells."""
    add_cluster(iris, "a", "alice")
    refusal = ApiError(403, "Required 'tpu.nodes.delete' permission for 'a-tpu'")
    iris.api.cloud.faults.fail("DELETE", "/nodes/", refusal, times=None)
    down = iris.run("down", "-c", iris.config("a", "alice"), "--no-black-box")
    assert down.returncode == 3
    assert "a-tpu-20260101000001" in down.stderr
    assert "tpu.nodes.delete" in down.stderr
    assert iris.names() == sorted([*FOREIGN, "a-tpu-20260101000001"])
