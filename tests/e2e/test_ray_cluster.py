"""A cluster whose hosts run Ray, as by default: the real gcloud, SSH, Docker and Ray, in the lab, each host in a network of its own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from iris_adapters.config_file import load_config
from iris_adapters.container import open_container
from iris_adapters.controller.client import JobClient
from iris_adapters.controller.wire import JobRequest, JobStatus
from iris_core.log_reader import read_payloads
from tests.lab.ray import needs_ray, ray_config_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.lab.host import Host
    from tests.lab.lab import Lab

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
CONTROLLER = "iris-controller-iris"
LINES = 2000

pytestmark = [pytest.mark.lab, pytest.mark.ray, needs_ray, pytest.mark.timeout(900)]


@pytest.fixture
def cloud(networked_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """The lab, as the one that this process's gcloud and SSH see."""
    for name, value in networked_lab.environment.items():
        monkeypatch.setenv(name, value)
    return networked_lab


def test_a_cluster_of_ray_nodes(cloud: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is closed to whoever has no token, and open to Ray's own tools; what tasks print lands; it outlives a worker and a reboot."""
    caplog.set_level("DEBUG")
    logs = tmp_path / "logs"
    with open_container(load_config(ray_config_file(tmp_path))) as container:
        manager = container.cluster_manager()
        with manager.connect(log_dir=logs) as url:
            assert manager.controller is not None
            assert manager.controller.token is not None
            token = manager.controller.token
            train, evaluation = sorted((node.name for node in cloud.cloud.list("nodes")), reverse=True)
            workers = {f"{train}-w0", f"{train}-w1", f"{evaluation}-w0"}
            hosts = [*cloud.hosts(train), *cloud.hosts(evaluation), cloud.host(CONTROLLER)]
            wait_for(lambda: workers <= alive_nodes(url, token), 240, "the workers join")

            check_that_routes_are_closed(url, token)
            check_that_rays_tool_works(url, token)
            check_what_tasks_print(url, token, logs)
            with JobClient(url, token) as jobs:
                check_a_gang_that_loses_a_host(jobs, cloud.hosts(train), f"{train}-w1")
            wait_for(lambda: workers <= alive_nodes(url, token), 240, "the worker is back")
            check_the_open_ports(hosts, cloud.host(CONTROLLER))
            check_that_a_host_comes_back(cloud, evaluation, url, token)
            check_that_the_token_is_nowhere(token, cloud, hosts, logs, caplog.text)


def alive_nodes(url: str, token: str) -> set[str]:
    try:
        answer = httpx.get(f"{url}/api/v0/nodes", headers={"Authorization": f"Bearer {token}"}, timeout=10).json()
    except (httpx.HTTPError, ValueError):
        return set()
    rows = (answer.get("data") or {}).get("result", {}).get("result", [])
    return {row["node_name"] for row in rows if row["state"] == "ALIVE"}


def check_that_routes_are_closed(url: str, token: str) -> None:
    """Without the token, and with another one."""
    routes = [("GET", path) for path in ("/api/version", "/api/jobs/", "/api/v0/nodes", "/nodes?view=summary", "/logs")]
    for method, path in [*routes, ("POST", "/api/jobs/"), ("PUT", "/api/packages/gcs/x.zip")]:
        assert httpx.request(method, f"{url}{path}", timeout=10).status_code == 401, path
        wrong = {"Authorization": f"Bearer {'0' * len(token)}"}
        assert httpx.request(method, f"{url}{path}", headers=wrong, timeout=10).status_code == 403, path


def check_that_rays_tool_works(url: str, token: str) -> None:
    """`ray job submit --address URL`, with the token in the environment."""
    command = [f"{sys.prefix}/bin/ray", "job", "submit", f"--address={url}", "--", "echo", "hello", "from", "ray"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hello from ray" in done.stdout


TASKS = """\
import os, signal
import ray

ray.init(logging_level="error", log_to_driver=False)

@ray.remote(num_cpus=0, resources={"TPU": 1}, max_retries=0)
def talk(number):
    for line in range(LINES):
        print(f"task {number} line {line}", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

for result in [talk.options(scheduling_strategy="SPREAD").remote(number) for number in range(3)]:
    try:
        ray.get(result)
    except ray.exceptions.WorkerCrashedError:
        pass
"""


def check_what_tasks_print(url: str, token: str, logs: Path) -> None:
    """Ray's own tasks, killed the moment after their last line: every line is in some worker's landed file, once and in order."""
    program = TASKS.replace("LINES", str(LINES))
    body = {"entrypoint": f"python3 -c '{program.replace(chr(39), chr(34))}'"}
    headers = {"Authorization": f"Bearer {token}"}
    submitted = httpx.post(f"{url}/api/jobs/", json=body, headers=headers, timeout=60).json()
    job = f"{url}/api/jobs/{submitted['submission_id']}"

    def status() -> str:
        answer = httpx.get(job, headers=headers, timeout=60).json()
        return str(answer["status"])

    wait_for(lambda: status() in {"SUCCEEDED", "FAILED", "STOPPED"}, 240, "the job ends")
    assert status() == "SUCCEEDED", httpx.get(f"{job}/logs", headers=headers, timeout=60).json()["logs"][-3000:]
    expected = {f"{number}": [f"task {number} line {line}" for line in range(LINES)] for number in range(3)}

    def landed() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {number: [] for number in expected}
        for path in (logs / "workers").glob("*.txt"):
            for _, payload in read_payloads(path):
                if match := re.fullmatch(r"task (\d) line \d+", payload.decode(errors="replace").rstrip()):
                    found[match[1]].append(match[0])
        return found

    with suppress(AssertionError):
        wait_for(lambda: landed() == expected, 60, "what the tasks printed lands")
    found = landed()
    assert {number: len(lines) for number, lines in found.items()} == dict.fromkeys(expected, LINES)
    assert found == expected


def check_a_gang_that_loses_a_host(jobs: JobClient, hosts: Sequence[Host], name: str) -> None:
    """Killed in the middle: without retries it fails, and the host is named; with one, it runs again as a whole. Never half."""
    script = 'echo "attempt begins"; [ -e /tmp/second ] || sleep 600; echo "attempt ends"'

    def begun(job_id: str) -> bool:
        return jobs.logs(job_id).count("attempt begins") == 2

    def has_ended(job_id: str) -> bool:
        return jobs.get(job_id).status.has_ended

    for retries in (0, 1):
        request = JobRequest(
            entrypoint=script, replicas=2, coscheduled=True, accelerator_type="v5litepod-8", retries=retries
        )
        job_id = jobs.submit(request)
        wait_for(partial(begun, job_id), 240, "the gang runs")
        if retries:  # who begins again finds it, and ends
            for host in hosts:
                host.docker("exec", "iris-worker", "touch", "/tmp/second")
        kill_container(hosts[1])
        wait_for(partial(has_ended, job_id), 240, "the gang has ended")
        info, log = jobs.get(job_id), jobs.logs(job_id)
        if retries:
            assert info.status is JobStatus.SUCCEEDED, (info, log[-2000:])
            assert (log.count("attempt begins"), log.count("attempt ends")) == (4, 2)
        else:
            assert info.status is JobStatus.FAILED, (info, log[-2000:])
            assert name in info.message
            assert log.count("attempt ends") == 0


def kill_container(host: Host) -> None:
    """Kill the first process of the worker's container, as a crash would; Docker starts it again."""
    pid = host.docker("container", "inspect", "--format={{.State.Pid}}", "iris-worker").stdout.decode().strip()
    host.run("kill", "-9", pid)


def check_the_open_ports(hosts: Sequence[Host], controller: Host) -> None:
    """A scan of every port of every host's address finds sshd and what docs/security.md lists, bound as it says."""
    table = re.findall(
        r"^\| (\d+)(?:\u2013(\d+))? \| (controller|both) \| ([^|]*) \|",
        SECURITY.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(table) == 9
    for host in hosts:
        documented = {22}
        for first, last, where, bound in table:
            if (where == "both" or host is controller) and bound.strip() != "127.0.0.1":
                documented |= set(range(int(first), int(last or first) + 1))
        found = open_ports(host.address)
        assert 22 in found
        assert found <= documented, f"{host.name}: {sorted(found - documented)}"
        assert 10000 not in found


def open_ports(address: str) -> set[int]:
    """Every TCP port of the address that takes a connection."""
    found = set()
    for port in range(1, 65536):
        with socket.socket() as probe:
            probe.settimeout(5.0)
            if probe.connect_ex((address, port)) == 0:
                found.add(port)
    return found


def check_that_a_host_comes_back(cloud: Lab, slice_name: str, url: str, token: str) -> None:
    """A host that reboots runs its start-up script again, and joins with what is on its disk."""
    host = cloud.host(slice_name)
    host.kill()
    wait_for(lambda: f"{slice_name}-w0" not in alive_nodes(url, token), 240, "Ray misses the host")
    host.boot(cloud.cloud.get(slice_name).metadata["startup-script"])
    wait_for(lambda: f"{slice_name}-w0" in alive_nodes(url, token), 240, "the host has joined again")


def check_that_the_token_is_nowhere(token: str, cloud: Lab, hosts: Sequence[Host], logs: Path, iris_log: str) -> None:
    """In no metadata, no container's settings, no command line, no log; and only root reads the files that hold it."""
    requests = json.dumps([[request.path, request.query, request.body] for request in cloud.cloud.requests])
    assert token not in requests
    assert token not in iris_log
    for path in logs.rglob("*"):
        assert path.is_dir() or token.encode() not in path.read_bytes(), path
    for host in hosts:
        containers = host.docker("ps", "--all", "--quiet").stdout.decode().split()
        assert token.encode() not in host.docker("container", "inspect", *containers).stdout
        assert token not in host.serial_output()
        for process in host.processes():
            with suppress(OSError):
                assert token.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        names = ["token"] if host.name == CONTROLLER else ["join"]
        for name in names:
            assert host.run("stat", "--format=%a %u", f"/var/lib/iris/{name}").stdout == b"600 0\n"
            assert token.encode() in host.run("cat", f"/var/lib/iris/{name}").stdout


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.5)
