"""docs/examples/collector on a real engine: that takes the script's `docker run`, and writes what the configuration reads."""

from __future__ import annotations

import fnmatch
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iris_core.config import DEFAULT_WORKER_CONTAINER
from iris_core.docker_run import run_container_argv
from tests.lab.images import IMAGE
from tests.lab.processes import wait_until
from tests.support.collector import ANSWERS, SCRIPT, configuration, pretend_curl, transformed, worker_group

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.lab import Lab

_ROOT = "/var/lib/docker/"  # where the engine has its files on a real host


@pytest.mark.lab
@pytest.mark.timeout(120)
def test_the_log_of_iris_container_and_no_other_is_collected(lab: Lab, tmp_path: Path) -> None:
    """By its name, line by line; not what a container without a tag writes, and not what Vector itself does."""
    lab.add_instance("vm")
    host = lab.host("vm")
    _pretend_vector(host)
    container = replace(
        worker_group(tmp_path).container,
        image=IMAGE,
        command=("sh", "-c", "echo one; sleep 0.1; echo 'a \"b\" \\ <c>' >&2; sleep 1000"),
    )
    host.run(*run_container_argv(DEFAULT_WORKER_CONTAINER, container))
    host.docker("run", "--detach", "--name=other", IMAGE, "sh", "-c", "echo not for you; sleep 1000")
    pretend_curl(tmp_path, ANSWERS)
    for _ in range(2):  # as two boots do: the second finds the first one's container
        host.run("env", f"PATH={tmp_path}{os.pathsep}{os.environ['PATH']}", f"HERE={tmp_path}", "bash", str(SCRIPT))

    vector = _inspected(host, "vector")
    assert "HOST=iris-train-20261201120000-w3" in vector["Config"]["Env"]
    assert vector["HostConfig"]["RestartPolicy"]["Name"] == "always"
    _await_line(host, "vector", b"Vector says something")
    _await_line(host, DEFAULT_WORKER_CONTAINER, b"<c>")
    _await_line(host, "other", b"not for you")
    files = _files(host)
    assert sorted(files) == sorted(_read_path(host, name) for name in (DEFAULT_WORKER_CONTAINER, "other"))
    events = [transformed(line, file=file) for file, text in files.items() for line in text.splitlines()]
    collected = [event for event in events if event is not None]
    assert [(one["container"], one["stream"], one["message"]) for one in collected] == [
        ("iris-worker", "stdout", "one\n"),
        ("iris-worker", "stderr", 'a "b" \\ <c>\n'),
    ]
    assert {one["container_id"] for one in collected} == {_inspected(host, DEFAULT_WORKER_CONTAINER)["Id"]}
    assert len(events) == 3


def _pretend_vector(host: Host) -> None:
    """An image of Vector's name, which says something and stays."""
    [line] = [line for line in SCRIPT.read_text(encoding="utf-8").splitlines() if line.startswith("image=")]
    host.docker("create", "--name=pretended", IMAGE)
    entrypoint = json.dumps(["sh", "-c", "echo Vector says something; sleep 1000"])
    host.docker("commit", f"--change=ENTRYPOINT {entrypoint}", "pretended", line.removeprefix("image="))
    host.docker("rm", "pretended")


def _await_line(host: Host, name: str, text: bytes) -> None:
    """Wait until the engine has that in a container's log."""

    def written() -> bool:
        logs = host.docker("logs", name)
        return text in logs.stdout + logs.stderr

    wait_until(written, 20, f"the line of {name}")


def _inspected(host: Host, name: str) -> dict[str, Any]:
    [inspected] = json.loads(host.docker("inspect", name).stdout)
    assert isinstance(inspected, dict)
    return inspected


def _engine_root(host: Host) -> str:
    """Where the lab's engine has its files."""
    return host.docker("info", "--format={{.DockerRootDir}}").stdout.decode().strip() + "/"


def _read_path(host: Host, name: str) -> str:
    """Where a container's log is on a real host."""
    return str(_inspected(host, name)["LogPath"]).replace(_engine_root(host), _ROOT)


def _files(host: Host) -> dict[str, str]:
    """What the configuration has read, of all the engine's files: by their paths on a real host."""
    source = configuration()["sources"]["containers"]
    [process] = [one for one in host.processes() if Path(f"/proc/{one.pid}/comm").read_text().strip() == "dockerd"]
    root = Path(f"/proc/{process.pid}/root{_engine_root(host)}")
    found = {}
    for path in (root / "containers").rglob("*"):
        name = _ROOT + str(path.relative_to(root))
        if any(fnmatch.fnmatch(name, one) for one in source["include"]) and path.is_file():
            found[name] = path.read_text(encoding="utf-8")
    return found
