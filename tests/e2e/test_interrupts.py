"""Ctrl-C, twice Ctrl-C and kill -9, with the real gcloud: how fast iris ends, what it says, and what it leaves running."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.iris_process import Iris, interrupt, wait_for
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.gcloud_api import GcloudApi
    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

GRACE_SECONDS = 10.0
BUSY_SECONDS = 2.0  # for a machine on which other things run: to be told of the signal, and to exit
SLICES = "workers: [{name: tpu, accelerator_type: v5litepod-4, runtime_version: v, count: 3}]\n"
CONTROLLER = f'controller: {{container: {{image: "{IMAGE}", command: [httpd, -f, -p, "127.0.0.1:10000", -h, /www]}}}}\n'


@pytest.fixture
def iris(gcloud_api: GcloudApi, tmp_path: Path) -> Iris:
    return Iris(gcloud_api, tmp_path)


@pytest.mark.parametrize("group", [True, False], ids=["terminal", "process"])
def test_ctrl_c_during_up(iris: Iris, *, group: bool) -> None:
    """While slices are being created, which takes minutes: it ends in 10 s, names what is there, and no gcloud goes on."""
    config = iris.config("iris", "me", SLICES)
    up = iris.start("up", "-c", config)
    wait_for(lambda: "iris-controller-iris" in iris.names(), "the controller is created")
    iris.api.cloud.creation_seconds = 300
    wait_for(lambda: len(iris.names()) >= 3, "slices are being created")
    began = time.monotonic()
    interrupt(up, group=group)
    _, stderr = up.communicate(timeout=60)
    assert time.monotonic() - began < GRACE_SECONDS + BUSY_SECONDS
    assert up.returncode == 128 + signal.SIGINT, stderr
    assert "costs money" in stderr
    assert f"`iris down -c {config}`" in stderr
    assert "Traceback" not in stderr
    wait_for(lambda: iris.processes() == {}, "every process has ended", 10)
    there = iris.names()
    if "did not end in order" not in stderr:  # a busy machine may take longer than 10 s for the list
        assert all(f"  {name} (" in stderr for name in there)
    down = iris.run("down", "-c", config, "--no-black-box")
    assert down.returncode == 0, down.stderr
    assert iris.names() == []


def test_ctrl_c_twice_ends_at_once(iris: Iris) -> None:
    """Nothing more is asked; it is said how to delete what there may be, and no gcloud goes on."""
    config = iris.config("iris", "me", SLICES)
    iris.api.cloud.creation_seconds = 300
    up = iris.start("up", "-c", config)
    wait_for(iris.names, "something is being created")
    iris.api.cloud.faults.delay("GET", "/nodes$", 60, times=None)  # so that the end in order takes its time
    interrupt(up, group=True)
    assert up.stderr is not None
    while "ending in order" not in up.stderr.readline():
        pass
    began = time.monotonic()
    interrupt(up, group=True)
    _, stderr = up.communicate(timeout=60)
    assert time.monotonic() - began < BUSY_SECONDS
    assert up.returncode == 128 + signal.SIGINT
    assert f"`iris down -c {config}` finds and deletes all of it" in stderr
    wait_for(lambda: iris.processes() == {}, "every process has ended", 10)


def test_an_end_in_order_that_takes_too_long_is_cut_short(iris: Iris) -> None:
    """The cloud does not answer: after 10 s iris ends all the same."""
    config = iris.config("iris", "me", SLICES)
    iris.api.cloud.creation_seconds = 300
    up = iris.start("up", "-c", config)
    wait_for(iris.names, "something is being created")
    iris.api.cloud.faults.delay("GET", "/nodes$", 60, times=None)
    began = time.monotonic()
    interrupt(up, group=False)
    _, stderr = up.communicate(timeout=60)
    assert GRACE_SECONDS - 1 < time.monotonic() - began < GRACE_SECONDS + BUSY_SECONDS
    assert f"`iris down -c {config}` finds and deletes all of it" in stderr
    wait_for(lambda: iris.processes() == {}, "every process has ended", 10)


def test_after_kill_nothing_goes_on_and_down_finds_everything(iris: Iris) -> None:
    """In the middle of several creations, of which the cloud has been asked."""
    config = iris.config("iris", "me", SLICES)
    up = iris.start("up", "-c", config)
    wait_for(lambda: "iris-controller-iris" in iris.names(), "the controller is created")
    iris.api.cloud.creation_seconds = 300
    wait_for(lambda: len(iris.names()) >= 2, "slices are being created")
    up.kill()
    up.communicate(timeout=60)
    wait_for(lambda: iris.processes() == {}, "no gcloud outlives iris", 10)
    down = iris.run("down", "-c", config, "--no-black-box")
    assert down.returncode == 0, down.stderr
    assert iris.names() == []


@pytest.mark.parametrize("group", [True, False], ids=["terminal", "process"])
def test_ctrl_c_during_connect(lab: Lab, tmp_path: Path, *, group: bool) -> None:
    """The cluster that it has started is deleted, logs and tunnel end in order, in 10 s, and no process stays."""
    iris = Iris(lab, tmp_path)
    config = iris.config("iris", "me", CONTROLLER)
    connect = iris.start("connect", "-c", config, "--log-dir", tmp_path / "logs")
    assert connect.stdout is not None
    assert connect.stdout.readline().startswith("export IRIS_URL=http://127.0.0.1:")
    hosts = set(iris.processes()) - {connect.pid}  # the lab's own hosts share its environment
    began = time.monotonic()
    interrupt(connect, group=group)
    _, stderr = connect.communicate(timeout=60)
    assert time.monotonic() - began < GRACE_SECONDS + BUSY_SECONDS
    wait_for(lambda: not set(iris.processes()) - hosts, "every process has ended", 10)
    if "did not end in order" in stderr:  # a busy machine may take longer than 10 s for four gcloud commands
        assert connect.returncode == 128 + signal.SIGINT
        assert f"`iris down -c {config}` finds and deletes all of it" in stderr
    else:
        # 130 where the signal came before it had begun to wait for one.
        assert connect.returncode in {0, 128 + signal.SIGINT}, stderr
        assert iris.names() == []
