"""Ray's own job client against the local controller: what it can do with a Ray cluster, it can do here.

Needs the dependency group `ray`.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from iris_adapters.controller.local_controller import LocalController
from iris_adapters.system_clock import SystemClock
from iris_core.config import LocalConfig
from tests.support.ray_cluster import ray_job_submit

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore:ssl=None is deprecated:DeprecationWarning"),  # Ray 2.60 with aiohttp 3.14
]


@pytest.fixture
def controller(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalController]:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with closing(LocalController(LocalConfig(), SystemClock())) as running:
        yield running


def ray_client(controller: LocalController, token: str) -> Any:
    from ray.job_submission import JobSubmissionClient  # noqa: PLC0415 - Ray is there in this file's tests only

    return JobSubmissionClient(controller.url, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def client(controller: LocalController) -> Any:
    return ray_client(controller, controller.token)


def follow(client: Any, job_id: str) -> str:
    async def gather() -> str:
        return "".join([text async for text in client.tail_job_logs(job_id)])

    return asyncio.run(gather())


def test_ray_submits_follows_and_reads(client: Any) -> None:
    """A job that Ray's client submits runs with its environment; following and reading give the same log; it succeeded."""
    job_id = client.submit_job(
        entrypoint="echo hello $NAME; sleep 0.2; echo bye",
        runtime_env={"env_vars": {"NAME": "ray"}},
        metadata={"owner": "me"},
    )

    assert follow(client, job_id) == "hello ray\nbye\n"
    assert client.get_job_logs(job_id) == "hello ray\nbye\n"
    assert client.get_job_status(job_id).value == "SUCCEEDED"
    info = client.get_job_info(job_id)
    assert (info.submission_id, info.driver_exit_code, info.metadata["owner"]) == (job_id, 0, "me")
    assert info.start_time <= info.end_time


def test_ray_lists_stops_and_deletes(client: Any) -> None:
    """A running job is listed, stopped once, and deleted when it has ended."""
    job_id = client.submit_job(entrypoint="echo up; exec sleep 100", submission_id="mine")
    assert [(job.submission_id, job.type.value) for job in client.list_jobs()] == [("mine", "SUBMISSION")]

    assert client.stop_job(job_id) is True
    follow(client, job_id)

    assert client.get_job_status(job_id).value == "STOPPED"
    assert client.stop_job(job_id) is False
    assert client.delete_job(job_id) is True
    assert client.list_jobs() == []


def test_a_failed_job_tells_ray_so(client: Any) -> None:
    """Exit code and message arrive."""
    job_id = client.submit_job(entrypoint="exit 3", entrypoint_num_cpus=1)
    follow(client, job_id)

    info = client.get_job_info(job_id)
    assert (info.status.value, info.driver_exit_code) == ("FAILED", 3)
    assert info.message == "task 0 on local-w0 exited with 3"


def test_ray_may_ask_for_replicas_by_metadata(client: Any) -> None:
    """The iris.* metadata keys work from Ray's client too."""
    job_id = client.submit_job(
        entrypoint="echo $IRIS_TASK_INDEX", metadata={"iris.replicas": "3", "iris.coscheduled": "true"}
    )

    assert sorted(follow(client, job_id).splitlines()) == ["[task 0] 0", "[task 1] 1", "[task 2] 2"]


def test_what_the_local_controller_has_not_is_refused_in_words(client: Any) -> None:
    """GPUs and pip environments are refused with our reason, which Ray's client shows."""
    with pytest.raises(RuntimeError, match="entrypoint_num_gpus is not supported by the local controller"):
        client.submit_job(entrypoint="true", entrypoint_num_gpus=1)
    with pytest.raises(RuntimeError, match="pip is not supported by the local controller"):
        client.submit_job(entrypoint="true", runtime_env={"pip": ["six"]})


def test_ray_without_the_token_is_refused(controller: LocalController) -> None:
    """A wrong token is an authentication error of Ray's client."""
    from ray.exceptions import AuthenticationError  # noqa: PLC0415 - see above

    with pytest.raises(AuthenticationError, match="not this controller's"):
        ray_client(controller, "wrong")


def test_rays_own_token_setting_works(controller: LocalController, tmp_path: Any) -> None:
    """With RAY_AUTH_MODE=token and RAY_AUTH_TOKEN in the environment, the `ray job` command needs no header option."""
    printed = ray_job_submit(controller.url, controller.token, tmp_path, "--", "sh", "-c", "echo from the command line")

    assert "from the command line" in printed
