"""What streams, and the black box, with real hosts: SSH, Docker engines, a console."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from iris_core.labels import new_labels
from tests.e2e.iris_process import Iris, wait_for
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

SLICE = "iris-tpu-20260101000001"


def test_what_streams_is_seen_and_captured_before_it_goes(lab: Lab, tmp_path: Path) -> None:
    """Streaming, killed, exited; then all that the hosts had to say is in the black box, and they are gone."""
    iris = Iris(lab, tmp_path)
    config = iris.config("iris", "me")
    lab.ssh_key()
    labels = new_labels("iris", owner="me", expires_at=None)
    script = "#!/bin/sh\necho the controller boots\n"
    lab.add_instance("iris-controller-iris", labels=labels, metadata={"startup-script": script})
    lab.add_node(SLICE, labels=new_labels("iris", owner="me", expires_at=None, group="tpu"))
    lab.host("iris-controller-iris").docker("run", "-d", "--name=iris-controller", IMAGE, "sleep", "600")
    lab.host(SLICE).docker("run", "-d", "--name=iris-worker", IMAGE, "sh", "-c", "echo last words; exit 3")

    def states() -> dict[str, str]:
        done = iris.run("status", "-c", config, "--log-dir", tmp_path / "logs", "-o", "json")
        assert done.returncode == 0, done.stderr
        return {source["source"]: source["state"] for source in json.loads(done.stdout)["sources"]}

    landed = tmp_path / "logs" / "workers" / f"{SLICE}-w0.txt"
    stream = iris.start("logs", "stream", tmp_path / "logs", "-c", config)
    events = landed.with_name(f"{SLICE}-w0.events.jsonl")
    wait_for(lambda: events.exists() and "exited" in events.read_text(), "the worker's end is recorded", 90)
    controller_events = tmp_path / "logs" / "controller-logs.events.jsonl"
    wait_for(
        lambda: controller_events.exists() and "started" in controller_events.read_text(), "the controller streams", 90
    )
    assert states() == {"controller-logs": "streaming", f"workers/{SLICE}-w0": "exited"}
    stream.kill()
    stream.communicate(timeout=60)
    assert states() == {"controller-logs": "not-captured", f"workers/{SLICE}-w0": "exited"}

    down = iris.run("down", "-c", config, "--log-dir", tmp_path / "box")
    assert down.returncode == 0, down.stderr
    assert "Not captured" not in down.stderr
    assert iris.names() == []
    box = tmp_path / "box"
    assert b"last words" in (box / "workers" / f"{SLICE}-w0.txt").read_bytes()
    (inspected,) = json.loads((box / "hosts" / f"{SLICE}-w0" / "inspect.json").read_text())
    assert (inspected["Name"], inspected["State"]["ExitCode"]) == ("/iris-worker", 3)
    assert "the controller boots" in (box / "hosts" / "iris-controller-iris" / "serial.txt").read_text()
    assert (box / "hosts" / f"{SLICE}-w0" / "dmesg.txt").stat().st_size > 0
