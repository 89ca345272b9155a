"""A slice is taken away while its logs are landed: the real gcloud, real SSH, real Docker engines."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from iris_adapters.container import open_container
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    LogConfig,
    Mode,
    SshConfig,
    WorkerGroupConfig,
)
from iris_core.log_reader import read_payloads
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.images import IMAGE
from tests.lab.machines import Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

CONFIG = ClusterConfig(
    mode=Mode.GCP,
    owner="me",
    gcp=GcpConfig(project_id=PROJECT, zone=ZONE, ssh=SshConfig(user="root")),
    controller=ControllerConfig(
        container=ContainerConfig(
            image=IMAGE, command=("sh", "-c", "chatter 10 20 & exec httpd -f -p 127.0.0.1:10000 -h /www")
        ),
        ready_timeout_seconds=120,
    ),
    workers=(
        WorkerGroupConfig(
            name="tpu",
            accelerator_type="v5litepod-4",
            runtime_version="v2-alpha-tpuv5-lite",
            spot=True,
            recreate=True,
            container=ContainerConfig(image=IMAGE, command=("chatter", "20000", "20")),
        ),
    ),
    logs=LogConfig(discovery_seconds=3, black_box_seconds=5),
)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def numbers(path: Path) -> list[int]:
    """What `chatter` wrote on standard output, as it landed."""
    return [int(payload.split()[1]) for is_stderr, payload in read_payloads(path) if not is_stderr]


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.with_suffix(".events.jsonl").read_text().splitlines()]


def slices(lab: Lab) -> list[str]:
    return [record.name for record in lab.cloud.list(Kind.NODE)]


def test_a_preempted_slice_is_re_created_and_both_lives_are_on_disk(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Its end, the reason and what is missing are told; the next life is landed from its first line; one that vanishes comes back too."""
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO, "iris")

    def landed(slice_name: str) -> Path:
        path = tmp_path / "workers" / f"{slice_name}-w0.txt"
        wait_for(lambda: path.exists() and path.stat().st_size > 4000, f"{slice_name} is streamed")
        return path

    with open_container(CONFIG) as container, container.cluster_manager().connect(log_dir=tmp_path):
        [first] = slices(lab)
        first_log = landed(first)
        lab.cloud.preempt(first)
        wait_for(lambda: slices(lab) not in ([first], []), "another slice")
        [second] = slices(lab)
        second_log = landed(second)
        lab.cloud.remove(second)
        wait_for(lambda: slices(lab) not in ([second], []), "a third slice")
        [third] = slices(lab)
        third_log = landed(third)
    assert lab.cloud.list(Kind.NODE) == []
    assert lab.cloud.list(Kind.INSTANCE) == []
    for path in (first_log, second_log, third_log):
        assert numbers(path) == list(range(1, len(numbers(path)) + 1))
        assert events(path)[1]["event"] == "started"
    of_first = {event["event"]: event for event in events(first_log)}
    assert of_first["host-lost"]["reason"] == of_first["host-gone"]["reason"] == "preempted"
    assert "could not be reached" in of_first["not-drained"]["reason"]
    assert {event["event"]: event for event in events(second_log)}["host-gone"]["reason"] == "no longer listed"
    assert "not-drained" not in {event["event"] for event in events(third_log)}
    deletions = [request.path for request in lab.cloud.requests if request.method == "DELETE" and first in request.path]
    assert len(deletions) == 1
    told = caplog.text
    assert f"The slice {first} is preempted (PREEMPTED): it is re-created" in told
    assert f"The slice {first} was re-created as {second}" in told
    assert f"The slice {second} is no longer there: it is re-created" in told
