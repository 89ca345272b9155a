"""`iris up` is killed after each distinct API request that it makes; each time `iris down` leaves nothing of it, and all else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.lab.cloud import PROJECT, ZONE
from tests.lab.gcloud_api import GcloudApi
from tests.lab.machines import Kind

if TYPE_CHECKING:
    from tests.lab.http_shapes import Request

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

IRIS = Path(sys.executable).with_name("iris")
EVERY_POINT_BOTH_WAYS = os.environ.get("IRIS_FAULT_POINTS") == "all"  # `just fault-points`
AT_ONCE = 3
SECONDS = 240  # for one command, on a busy machine

CONFIG = f"""\
mode: gcp
label_prefix: a
owner: me
gcp: {{project_id: {PROJECT}, zone: {ZONE}, ssh: {{user: root}}}}
controller:
  container: {{image: example/controller, command: [serve]}}
workers:
  - {{name: now, accelerator_type: v5litepod-4, runtime_version: v2, container: {{image: example/worker, command: [work]}}}}
  - name: later
    accelerator_type: v5litepod-4
    runtime_version: v2
    queued: {{}}
    container: {{image: example/worker, command: [work]}}
logs: {{black_box_seconds: 0}}
"""

# Foreign: of a cluster whose prefix begins with ours, of nobody's cluster under a name like ours, and of people.
OTHERS = {"a-b-managed": "true", "iris-cluster": "a-b", "iris-owner": "me", "a-b-group": "now"}

Point: TypeAlias = tuple[str, str, int]
"""A kind of request (method and path without names), and which of its kind it is in this run, from 1."""


def kind_of(request: Request) -> tuple[str, str]:
    """Method and path, whatever the resource is called."""
    return request.method, re.sub(r"/(instances|nodes|queuedResources|operations)/[^/:]+", r"/\1/NAME", request.path)


def point_of(kind: tuple[str, str], number: int) -> Point | None:
    """The point that the request is; None: how often an operation is asked for depends on the machine, so only once counts."""
    return None if "/operations/" in kind[1] and number > 1 else (*kind, number)


class Run:
    """A cloud of its own with foreign resources in it, and one `iris up` in front of it, killed at a point."""

    def __init__(self, directory: Path, point: Point | None = None, *, orphans: bool = False) -> None:
        directory.mkdir()
        self._point = point
        self._orphans = orphans
        self._config = directory / "cluster.yaml"
        self._config.write_text(CONFIG, encoding="utf-8")
        self._api = GcloudApi(directory)
        self._environment = {**self._api.environment, "TERM": "dumb"}
        self._key = directory / "home" / ".ssh" / "google_compute_engine"
        self._seen: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._up: subprocess.Popen[str] | None = None
        self.points: list[Point] = []
        self.was_reached = False

    def problems(self) -> list[str]:
        """Bring it up, kill it at the point, bring it down, and say what is then not as it should be."""
        with self._api as api:
            self._add_foreign()
            before = self._resources()
            api.cloud.creation_seconds = 0.3  # so that it is killed while things are being created
            api.queue.has_capacity = False
            api.queue.late_seconds = 2.0
            api.server.on_carried_out = self._on_request
            up = self._popen("up")
            self._up = up
            _, said = up.communicate(timeout=SECONDS)
            api.server.on_carried_out = lambda _request: None
            if self._point is None:
                return [] if up.returncode == 0 else [f"iris up failed: {said}"]
            if not self.was_reached:
                return [f"never reached; iris up exited with {up.returncode}: {said}"]
            if self._orphans:
                self._wait_for_orphans()  # what they still create is what `down` is to find
            down = self._popen("down", "--no-black-box")
            _, said = down.communicate(timeout=SECONDS)
            self._wait_for_orphans()
            found = [f"{name} is left" for name in sorted(self._resources().keys() - before.keys())]
            found += [f"{name} is gone" for name in sorted(before.keys() - self._resources().keys())]
            if self._resources().items() & before.items() != before.items():
                found.append("something foreign is not what it was")
            if down.returncode:
                found.append(f"iris down exited with {down.returncode}: {said}")
            return found

    def _popen(self, *arguments: str) -> subprocess.Popen[str]:
        command = [str(IRIS), *arguments, f"--config={self._config}"]
        return subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _on_request(self, request: Request) -> None:
        kind = kind_of(request)
        with self._lock:
            self._seen[kind] += 1
            point = point_of(kind, self._seen[kind])
            if point is None:
                return
            self.points.append(point)
            if point == self._point:
                self._kill()
        if kind[1].endswith("/queuedResources") and point[2] == 2:  # it has been seen to wait: now it is fulfilled
            for name in self._api.queue.names():
                if name.startswith("a-later-"):
                    self._api.queue.fulfil(name)

    def _kill(self) -> None:
        """Kill iris; with `orphans` its guardian too, so that the gcloud processes live on."""
        assert self._up is not None
        self.was_reached = True
        if self._orphans:
            for pid in children_of(self._up.pid):
                if b"trap" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        os.kill(self._up.pid, signal.SIGKILL)

    def _wait_for_orphans(self) -> None:
        deadline = time.monotonic() + SECONDS
        while running_with(self._environment["CLOUDSDK_CONFIG"]):
            assert time.monotonic() < deadline, "a gcloud went on for ever"
            time.sleep(0.05)

    def _resources(self) -> dict[str, str]:
        """The ids of all that there is, by kind and name."""
        records = [*self._api.cloud.list(Kind.INSTANCE), *self._api.cloud.list(Kind.NODE)]
        found = {f"{record.kind}/{record.name}": record.number for record in records}
        return found | {f"queuedResources/{name}": name for name in self._api.queue.names()}

    def _add_foreign(self) -> None:
        api = self._api
        api.add_instance("somebodys-vm")
        api.add_instance("iris-controller-a-b", labels=OTHERS)
        api.add_instance("iris-controller-a", labels={"a-managed": "true"}, zone="europe-west4-a")
        api.add_node("a-b-now-20260101000000", labels=OTHERS)
        api.add_node("a-now-20260101000000", labels={"team": "a"})
        api.add_queued("a-b-later-20260101000000", labels=OTHERS)


def children_of(pid: int) -> set[int]:
    """Pids of the direct children of a process."""
    found = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def running_with(directory: str) -> list[int]:
    """Pids of the processes whose gcloud configuration is there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                if f"CLOUDSDK_CONFIG={directory}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def test_killed_after_each_request_it_leaves_nothing_that_down_does_not_find(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether its gcloud processes end with it or go on for a while, and whatever the queue grants too late."""
    reference = Run(tmp_path / "reference")
    assert reference.problems() == []
    points = sorted(set(reference.points))
    assert len(points) >= 15
    # Each point in one of the two ways, in turn; those that create something, in both.
    ways = [
        (point, orphans)
        for index, point in enumerate(points)
        for orphans in (False, True)
        if EVERY_POINT_BOTH_WAYS or point[0] == "POST" or orphans == bool(index % 2)
    ]
    runs = [Run(tmp_path / str(index), point, orphans=orphans) for index, (point, orphans) in enumerate(ways)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        problems = {way: found for way, found in zip(ways, threads.map(Run.problems, runs), strict=True) if found}
    with capsys.disabled():
        print(f"\n{len(points)} points, {len(ways)} kills", end=" ")  # noqa: T201 - the figure that is asked for
    assert problems == {}
