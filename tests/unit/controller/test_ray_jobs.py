"""The job client's way with a Ray cluster, on a Ray that is a few dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from iris_adapters.controller.ray_job.report import BEGIN_LINE, report_name
from iris_adapters.controller.ray_jobs import RayJobs
from iris_adapters.controller.wire import JobRequest, JobStatus
from iris_core.errors import JobApiError
from iris_core.ray_names import host_labels, host_resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
GANG = JobRequest(
    entrypoint="python 'a b.py'\n",
    job_id="mine",
    env={"A": "it's"},
    replicas=2,
    coscheduled=True,
    resources_per_replica={"TPU": 4},
    metadata={"owner": "me"},
)
RUNNING = {
    "status": "RUNNING",
    "message": "Job is currently running.",
    "exit_code": None,
    "pending_reason": "is being placed",
    "can_be_scheduled": True,
    "tasks": [["RUNNING", "a-w0", None], ["RUNNING", "a-w1", None]],
}


class FakeRay:
    """Answers as Ray's Jobs and State APIs do; implements `Http`.

    Attributes:
        jobs: Ray's JobDetails by submission id.
        files: what is in the head's log directory.
        logs: each job's log.
        nodes: what the State API lists.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, Any] = {}
        self.logs: dict[str, str] = {}
        self.nodes: list[dict[str, Any]] = []

    def read(
        self,
        parse: Callable[[object], T],
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        """As `HttpApi.read`."""
        if path == "/api/v0/logs/file" and params is not None:
            if params["node_id"] != "head" or params["filename"] not in self.files:
                raise JobApiError("no such file", status=500)
            return parse(self.files[params["filename"]])
        if path == "/api/v0/nodes":
            return parse({"data": {"result": {"result": self.nodes}}})
        if path == "/api/jobs/":
            return parse(list(self.jobs.values()) if body is None else self._submit(body))
        job_id, _, rest = path.removeprefix("/api/jobs/").partition("/")
        if job_id not in self.jobs:
            raise JobApiError(f"Job {job_id} does not exist", status=404)
        if method == "DELETE":
            del self.jobs[job_id]
            return parse({"deleted": True})
        return parse({"logs": self.logs[job_id]} if rest == "logs" else self.jobs[job_id])

    def messages(self, path: str) -> Iterator[str]:
        """As `HttpApi.messages`: in pieces of 7."""
        text = self.logs[path.split("/")[3]]
        return (text[start : start + 7] for start in range(0, len(text), 7))

    def is_now(self, status: str, *, message: str = "", exit_code: int | None = None, starts: bool = True) -> None:
        """What Ray says of the job `mine`."""
        self.jobs["mine"].update(
            status=status, message=message, driver_exit_code=exit_code, driver_node_id="head" if starts else None
        )

    def _submit(self, body: dict[str, Any]) -> dict[str, str]:
        job_id = body["submission_id"]
        if job_id in self.jobs:
            raise JobApiError(f"Job with submission_id {job_id} already exists.", status=500)
        started = {"type": "SUBMISSION", "status": "PENDING", "message": "", "start_time": 1, "end_time": None}
        self.jobs[job_id] = {**body, **started, "driver_node_id": None, "driver_exit_code": None}
        self.logs[job_id] = "Runtime env is setting up.\n"
        return {"submission_id": job_id}


@pytest.fixture
def ray() -> FakeRay:
    return FakeRay()


@pytest.fixture
def jobs(ray: FakeRay) -> RayJobs:
    made = RayJobs(ray)
    assert made.submit(GANG) == "mine"
    return made


def test_a_job_comes_back_as_it_was_submitted(ray: FakeRay, jobs: RayJobs) -> None:
    """The driver that Ray was given instead is not shown; the user's secrets are legible to nobody who lists Ray's jobs."""
    info = jobs.get("mine")

    assert (info.job_id, info.entrypoint, info.metadata["owner"]) == ("mine", GANG.entrypoint, "me")
    assert info.runtime_env == {"env_vars": {"A": "it's"}}
    assert "it's" not in str(ray.jobs["mine"]["runtime_env"])
    assert ray.jobs["mine"]["entrypoint"].startswith("exec python3 -c ")


def test_an_id_is_made_up_and_taken_once(ray: FakeRay, jobs: RayJobs) -> None:
    """A second job of the same id is a conflict, as with the local controller."""
    assert jobs.submit(JobRequest(entrypoint="true")) in ray.jobs
    with pytest.raises(JobApiError, match="there is a job mine already") as caught:
        jobs.submit(GANG)
    assert caught.value.status == 409


def test_too_large_a_job_is_refused_here(jobs: RayJobs) -> None:
    """Linux would refuse it on the head, after it was submitted."""
    noise = "".join(chr(32 + (index * index * 7919) % 90) + str(index**5) for index in range(20000))
    with pytest.raises(JobApiError, match="too large for a Ray cluster"):
        jobs.submit(JobRequest(entrypoint="true", env={"A": noise}))


def test_before_the_driver_speaks_the_nodes_say_why_it_waits(ray: FakeRay, jobs: RayJobs) -> None:
    """At once: starting a driver takes seconds."""
    labels, resources = host_labels("a"), {"CPU": 8.0, **host_resources("a", "v5litepod-8", 4)}
    ray.nodes = [{"node_name": "a-w0", "labels": labels, "resources_total": resources}]

    tasks = jobs.tasks("mine")

    reason = "needs 2 hosts of one slice with TPU=4 and CPU=1; 1 offers it"
    assert [(task.index, task.state, task.pending_reason, task.can_be_scheduled) for task in tasks] == [
        (0, JobStatus.PENDING, reason, False),
        (1, JobStatus.PENDING, reason, False),
    ]
    ray.nodes.append({**ray.nodes[0], "node_name": "a-w1"})
    assert jobs.tasks("mine")[0].pending_reason == "waits for its driver to start on the controller"
    ray.is_now("RUNNING")  # to Ray it runs
    assert jobs.get("mine").status is JobStatus.PENDING


def test_what_the_driver_reports_is_what_the_job_is(ray: FakeRay, jobs: RayJobs) -> None:
    """Its status while it runs, its message and exit code when it has ended."""
    ray.is_now("RUNNING")
    waits = {**RUNNING, "status": "PENDING", "message": "Job needs 2 hosts.", "pending_reason": "needs 2 hosts"}
    ray.files[report_name("mine")] = {**waits, "can_be_scheduled": False, "tasks": [["PENDING", None, None]] * 2}
    assert (jobs.get("mine").status, jobs.get("mine").message) == (JobStatus.PENDING, "Job needs 2 hosts.")
    assert [(task.pending_reason, task.can_be_scheduled) for task in jobs.tasks("mine")] == [
        ("needs 2 hosts", False)
    ] * 2
    assert jobs.list()[0].status is JobStatus.PENDING

    ray.files[report_name("mine")] = RUNNING
    assert jobs.get("mine").status is JobStatus.RUNNING
    assert [task.worker_id for task in jobs.tasks("mine")] == ["a-w0", "a-w1"]

    how = "task 1 on a-w1 was ended by SIGKILL"
    tasks = [["STOPPED", "a-w0", -15], ["FAILED", "a-w1", -9]]
    ray.files[report_name("mine")] = {**RUNNING, "status": "FAILED", "message": how, "exit_code": -9, "tasks": tasks}
    assert jobs.get("mine").status is JobStatus.RUNNING  # until Ray has seen the driver's end
    ray.is_now(
        "FAILED", message="Job entrypoint command failed with exit code 137, last available logs (…)", exit_code=137
    )
    info = jobs.get("mine")
    assert (info.status, info.message, info.exit_code) == (JobStatus.FAILED, how, -9)
    assert [task.exit_code for task in jobs.tasks("mine")] == [-15, -9]


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.STOPPED])
def test_a_driver_that_was_killed_is_not_believed_any_more(ray: FakeRay, jobs: RayJobs, status: JobStatus) -> None:
    """Its last report says RUNNING; Ray knows better."""
    ray.files[report_name("mine")] = RUNNING
    ray.is_now(status, message="failed with exit code -9, last available logs (truncated):\n…", exit_code=-9)

    info = jobs.get("mine")

    assert (info.status, info.message) == (status, "failed with exit code -9")
    assert [task.state for task in jobs.tasks("mine")] == [status, status]


def test_a_job_whose_report_is_gone_is_as_ray_says(ray: FakeRay, jobs: RayJobs) -> None:
    """After a new head, say."""
    ray.is_now("SUCCEEDED", message="Job finished successfully.", exit_code=0)

    assert jobs.get("mine").status is JobStatus.SUCCEEDED
    assert [(task.state, task.pending_reason) for task in jobs.tasks("mine")] == [(JobStatus.SUCCEEDED, "")] * 2


def test_rays_own_lines_are_not_the_jobs(ray: FakeRay, jobs: RayJobs) -> None:
    """They are left out, unless the driver never came to begin: then they say why."""
    assert jobs.logs("mine") == ""
    assert "".join(jobs.follow("mine")) == ray.logs["mine"]

    ray.logs["mine"] += f"Running entrypoint for job mine: …\n{BEGIN_LINE}\nfirst\nsecond\n"
    assert jobs.logs("mine") == "first\nsecond\n"
    assert "".join(jobs.follow("mine")) == "first\nsecond\n"

    ray.is_now("FAILED", message="no python3", starts=False)
    ray.logs["mine"] = "sh: python3: not found\n"
    assert jobs.logs("mine") == "sh: python3: not found\n"


def test_a_job_of_rays_own_tools_has_one_task(ray: FakeRay, jobs: RayJobs) -> None:
    """Its driver, on the node that ran it; its whole log is its own."""
    ray.jobs["foreign"] = {
        "type": "SUBMISSION",
        "submission_id": "foreign",
        "status": "SUCCEEDED",
        "entrypoint": "true",
        "driver_node_id": "head",
        "driver_exit_code": 0,
        "start_time": 0,
    }
    ray.jobs["driver"] = {"type": "DRIVER", "submission_id": None, "status": "RUNNING"}
    ray.logs["foreign"] = "all of it\n"
    ray.nodes = [{"node_id": "head", "node_name": "controller"}]

    [task] = jobs.tasks("foreign")

    assert (task.state, task.worker_id, task.exit_code) == (JobStatus.SUCCEEDED, "controller", 0)
    assert jobs.logs("foreign") == "".join(jobs.follow("foreign")) == "all of it\n"
    assert [job.job_id for job in jobs.list()] == ["foreign", "mine"]


def test_only_what_has_ended_is_deleted(ray: FakeRay, jobs: RayJobs) -> None:
    """Ray would answer 500 with a traceback."""
    with pytest.raises(JobApiError, match="has not ended") as caught:
        jobs.delete("mine")
    assert caught.value.status == 409
    ray.is_now("STOPPED")
    assert jobs.delete("mine")
    with pytest.raises(JobApiError):
        jobs.get("mine")
