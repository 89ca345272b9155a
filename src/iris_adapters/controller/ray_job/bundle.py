"""Packing a job for a Ray cluster: one entrypoint and one environment variable that hold all it needs. This module stays here.

The driver's program travels in the environment, not as a package that Ray would have to store, hand out and forget: submitting is one
request, and whether it works depends on nothing that was uploaded before.
"""

from __future__ import annotations

import base64
import json
import shlex
import zlib
from functools import cache
from importlib import resources
from typing import Any, Final

from iris_core.errors import JobApiError

VARIABLE: Final = "IRIS_JOB"
"""The environment variable that holds the packed job."""

MOST_PACKED_CHARACTERS: Final = 96 * 1024
"""Linux takes at most 128 KiB in one environment variable, and Ray makes one of this and the job's metadata together."""

_STOP_WAIT_VARIABLE: Final = (
    "RAY_JOB_STOP_WAIT_TIME_S"  # Ray 2.60, JobSupervisor: between SIGTERM and SIGKILL of a driver
)
_STOP_WAIT_SECONDS: Final = 15  # a replica's grace and drain, and time to hear of it
_GRACE_SECONDS: Final = 3.0
_DRAIN_SECONDS: Final = 1.0
_PACKAGE: Final = "iris_adapters.controller.ray_job"
_MODULES: Final = ("doubt", "driver", "placing", "reasons", "replica", "report", "tasks")
_ENTRYPOINT: Final = (
    "exec python3 -c 'import base64,json,os,zlib;"
    f'a={{}};exec(json.loads(zlib.decompress(base64.b64decode(os.environ["{VARIABLE}"])))["boot"],a);'
    f'a["main"]("{VARIABLE}",__import__("sys").argv[1])\' '
)


def pack(job: dict[str, Any], command: str) -> tuple[str, dict[str, str]]:
    """The entrypoint and the environment variables for Ray's Jobs API.

    Args:
        job: `job_id`, `env`, `replicas`, `resources`, `coscheduled`, `slice_name`, `accelerator_type`, `retries`.
        command: the user's command line; it stays legible in the entrypoint.

    Raises:
        JobApiError: command line and environment are too large together.
    """
    own = {"grace_seconds": _GRACE_SECONDS, "drain_seconds": _DRAIN_SECONDS, "drop": [VARIABLE, _STOP_WAIT_VARIABLE]}
    text = json.dumps({**_sources(), "job": {**job, **own}})
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    entrypoint = _ENTRYPOINT + shlex.quote(command)
    if len(packed) + len(entrypoint.encode()) > MOST_PACKED_CHARACTERS:
        raise JobApiError(
            f"the job's environment and command line are too large for a Ray cluster: packed {len(packed) + len(entrypoint)} of at "
            f"most {MOST_PACKED_CHARACTERS} bytes; put what is large into a file that the workers can read"
        )
    return entrypoint, {VARIABLE: packed, _STOP_WAIT_VARIABLE: str(_STOP_WAIT_SECONDS)}


def unpack(entrypoint: str, env_vars: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The job and the command line that were packed.

    Raises:
        ValueError: they were not, or not by this version's like.
    """
    job = json.loads(zlib.decompress(base64.b64decode(env_vars[VARIABLE])))["job"]
    return job, shlex.split(entrypoint)[-1]


@cache
def _sources() -> dict[str, Any]:
    modules = {f"{_PACKAGE}.{name}": _source(_PACKAGE, name) for name in _MODULES}
    modules["iris_core.ray_names"] = _source("iris_core", "ray_names")
    return {"modules": modules, "boot": _source(_PACKAGE, "boot"), "keeper": _source(_PACKAGE, "keeper")}


def _source(package: str, name: str) -> str:
    return resources.files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
