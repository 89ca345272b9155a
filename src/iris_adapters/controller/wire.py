"""What the job API speaks of: a request, a job, its tasks, the controller's version. Values only.

On the wire it is the part of the Ray Jobs REST API that submitting, watching, reading logs and stopping need (Ray 2.60,
`ray/dashboard/modules/job/common.py` and `pydantic_models.py`), so that Ray's own client can talk to the local controller and
this package's client to a Ray cluster. `iris_adapters.controller.wire_json` writes and reads it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

REPLICAS_KEY = "iris.replicas"
CPUS_KEY = "iris.cpus_per_replica"
COSCHEDULED_KEY = "iris.coscheduled"
RESOURCES_KEY = "iris.resources_per_replica"
SLICE_KEY = "iris.slice"
ACCELERATOR_KEY = "iris.accelerator_type"
RETRIES_KEY = "iris.retries"
IRIS_KEY_PREFIX = "iris."
"""Metadata keys that begin so are ours: Ray refuses unknown top-level fields, so what Ray has no word for travels there."""

MOST_REPLICAS = 10_000
"""The most replicas one job may have; a request must not make a controller allocate without bound."""

MOST_RETRIES = 1000

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_RESOURCE = re.compile(r"[A-Za-z][A-Za-z0-9._:-]{0,127}")


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})  # by a factory: Python 3.11 takes a mapping proxy for a mutable default


class JobStatus(StrEnum):
    """Ray's words for where a job, or a task of it, is in its life."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @property
    def has_ended(self) -> bool:
        """Whether it will never change again."""
        return self in {JobStatus.STOPPED, JobStatus.SUCCEEDED, JobStatus.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What is to run.

    Attributes:
        entrypoint: a command line, as `sh -c` takes it.
        job_id: the name it is to have, at most 128 of letters, digits, `.`, `_` and `-`. None: the controller makes one up.
        env: environment variables, beside those of the controller.
        replicas: how many times it runs at the same time, each with its own IRIS_TASK_INDEX.
        cpus_per_replica: how many CPUs each replica occupies on its worker. More than 0.
        resources_per_replica: what else each replica occupies, by Ray's names: `{"TPU": 4}`. The local controller has none.
        coscheduled: whether the replicas start only when all of them can, each on a worker of its own; where workers are of
            slices, all on workers of one slice.
        slice_name: the only slice whose workers will do. None: any.
        accelerator_type: the only type of slice (`v5litepod-16`) whose workers will do. None: any.
        retries: how often the job may lose a worker and go on: a coscheduled job runs again as a whole, any other the lost replica.
            A replica that fails by itself is not run again.
        metadata: what the submitter wants to remember with the job. Keys that begin with `iris.` are ours.

    Raises:
        JobApiError: a value cannot be right; the message says which and why.
    """

    entrypoint: str
    job_id: str | None = None
    env: Mapping[str, str] = field(default_factory=_nothing, hash=False, repr=False)  # may hold secrets
    replicas: int = 1
    cpus_per_replica: float = 1.0
    resources_per_replica: Mapping[str, float] = field(default_factory=_nothing, hash=False)
    coscheduled: bool = False
    slice_name: str | None = None
    accelerator_type: str | None = None
    retries: int = 0
    metadata: Mapping[str, str] = field(default_factory=_nothing, hash=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be right."""
        if not self.entrypoint.strip():
            raise JobApiError("entrypoint must not be empty")
        _check_text(self.entrypoint, "entrypoint")
        if self.job_id is not None and not _JOB_ID.fullmatch(self.job_id):
            raise JobApiError(
                f"the job id {self.job_id[:140]!r} cannot be used: take at most 128 of letters, digits, '.', '_' and '-', "
                "beginning with a letter or digit"
            )
        for key, value in self.env.items():
            if not key or "=" in key:
                raise JobApiError(f"{key!r} cannot be the name of an environment variable")
            _check_text(key, "the name of an environment variable")
            _check_text(value, f"the environment variable {key!r}")
        for key in self.metadata:
            if key.startswith(IRIS_KEY_PREFIX):
                raise JobApiError(
                    f"the metadata key {key!r} is not one that iris knows; keys that begin with 'iris.' are its own"
                )
        if not 1 <= self.replicas <= MOST_REPLICAS:
            raise JobApiError(f"replicas must be 1 to {MOST_REPLICAS}, is {self.replicas}")
        if not (math.isfinite(self.cpus_per_replica) and self.cpus_per_replica > 0):
            raise JobApiError(f"cpus_per_replica must be more than 0, and finite, is {self.cpus_per_replica}")
        self._check_placing()

    def _check_placing(self) -> None:
        for name, amount in self.resources_per_replica.items():
            _check_resource(name, amount)
        for name, chosen in (("slice_name", self.slice_name), ("accelerator_type", self.accelerator_type)):
            if chosen is not None and not _NAME.fullmatch(chosen):
                raise JobApiError(f"{name} must be the name of one, is {chosen[:140]!r}")
        if not 0 <= self.retries <= MOST_RETRIES:
            raise JobApiError(f"retries must be 0 to {MOST_RETRIES}, is {self.retries}")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job as the controller sees it.

    Attributes:
        job_id: its name (Ray calls it the submission id).
        status: where it is in its life.
        entrypoint: its command line.
        message: the status in a sentence: why it waits, or how it ended.
        start_time_ms: when it was submitted, in milliseconds since 1970 UTC (Ray's `start_time` means this too), or None.
        end_time_ms: when it ended, or None while it has not.
        metadata: what was submitted, the `iris.` keys included.
        runtime_env: Ray's runtime environment; the environment variables are its `env_vars`. They may hold secrets.
        exit_code: the exit code that decided how it ended, where there is one; negative: the signal that ended it.
    """

    job_id: str
    status: JobStatus
    entrypoint: str
    message: str = ""
    start_time_ms: int | None = None
    end_time_ms: int | None = None
    metadata: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    runtime_env: Mapping[str, Any] = field(default_factory=_nothing, hash=False, repr=False)
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One replica of a job.

    Attributes:
        index: its 0-based place among the replicas (IRIS_TASK_INDEX).
        state: where it is in its life.
        pending_reason: why it does not run yet, in words for the user; empty unless it is PENDING.
        can_be_scheduled: False while it is PENDING and the cluster, even if it were idle, could not run it; else True.
        worker_id: the worker that runs it or ran it, None if none did.
        exit_code: its exit code; negative: the signal that ended it; None until it has ended (or if it never ran).
    """

    index: int
    state: JobStatus
    pending_reason: str = ""
    can_be_scheduled: bool = True
    worker_id: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiVersion:
    """What answers.

    Attributes:
        version: the version of the Jobs REST API, Ray's count.
        ray_version: the Ray release; for iris's own controller, the one whose API it follows.
        session_name: one life of the controller.
        controller: `iris` for the local controller, `ray` for a Ray cluster.
    """

    version: str
    ray_version: str
    session_name: str
    controller: str


def check_job_id(job_id: str) -> None:
    """Refuse what no job can be called, whoever has submitted it.

    Raises:
        JobApiError: it is empty, or not text.
    """
    if not job_id:
        raise JobApiError("the job id must not be empty: `iris job list` shows those that there are")
    _check_text(job_id, "the job id")


def _check_resource(name: str, amount: float) -> None:
    if name == "CPU":
        raise JobApiError("CPUs are asked for by cpus_per_replica, not by resources_per_replica")
    if not _RESOURCE.fullmatch(name):
        raise JobApiError(f"{name[:140]!r} cannot be the name of a resource")
    if not (math.isfinite(amount) and amount > 0):
        raise JobApiError(f"the amount of the resource {name} must be more than 0, and finite, is {amount}")
    if amount > 1 and amount != int(amount):  # Ray refuses it, but only when the job has started
        raise JobApiError(f"the amount of the resource {name} must be a whole number if it is more than 1, is {amount}")


def _check_text(value: str, what: str) -> None:
    """Refuse text that no process can be given: NUL, and lone surrogates, which are not characters."""
    if "\0" in value:
        raise JobApiError(f"{what} must not contain a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise JobApiError(f"{what} is not text that UTF-8 can express") from error
