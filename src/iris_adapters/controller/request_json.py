"""A job's submission as JSON, both ways: the body of POST /api/jobs/, and what of it the local controller refuses."""

from __future__ import annotations

import json
from typing import Any

from iris_adapters.controller.json_fields import as_mapping, as_string, as_strings
from iris_adapters.controller.wire import (
    ACCELERATOR_KEY,
    COSCHEDULED_KEY,
    CPUS_KEY,
    REPLICAS_KEY,
    RESOURCES_KEY,
    RETRIES_KEY,
    SLICE_KEY,
    JobRequest,
)
from iris_core.errors import JobApiError

# The fields of Ray's JobSubmitRequest. What this controller cannot do is refused unless it is empty or zero.
_REQUEST_FIELDS = frozenset(
    {
        "entrypoint",
        "submission_id",
        "job_id",
        "runtime_env",
        "metadata",
        "entrypoint_num_cpus",
        "entrypoint_num_gpus",
        "entrypoint_memory",
        "entrypoint_resources",
        "entrypoint_label_selector",
    }
)
_UNSUPPORTED_FIELDS = ("entrypoint_num_gpus", "entrypoint_memory", "entrypoint_resources", "entrypoint_label_selector")
_UNSUPPORTED_KEYS = (RESOURCES_KEY, SLICE_KEY, ACCELERATOR_KEY)
_BOOLEANS = {"true": True, "false": False}


def request_to_json(request: JobRequest) -> dict[str, Any]:
    """The body of POST /api/jobs/, without any field that a Ray cluster would refuse."""
    body: dict[str, Any] = {
        "entrypoint": request.entrypoint,
        "metadata": {**request.metadata, **_own_metadata(request)},
        "runtime_env": {"env_vars": dict(request.env)} if request.env else {},
    }
    if request.job_id is not None:
        body["submission_id"] = request.job_id
    return body


def _own_metadata(request: JobRequest) -> dict[str, str]:
    own = {
        REPLICAS_KEY: str(request.replicas),
        CPUS_KEY: str(request.cpus_per_replica),
        COSCHEDULED_KEY: "true" if request.coscheduled else "false",
    }
    if request.resources_per_replica:
        own[RESOURCES_KEY] = json.dumps(dict(request.resources_per_replica))
    if request.slice_name is not None:
        own[SLICE_KEY] = request.slice_name
    if request.accelerator_type is not None:
        own[ACCELERATOR_KEY] = request.accelerator_type
    if request.retries:
        own[RETRIES_KEY] = str(request.retries)
    return own


def request_from_json(value: object) -> JobRequest:
    """Read the body of POST /api/jobs/, from our client or Ray's.

    Raises:
        JobApiError: it is not a request, or asks for what the local controller does not have.
    """
    body = {key: item for key, item in as_mapping(value, "the body").items() if item is not None}
    unknown = sorted(body.keys() - _REQUEST_FIELDS)
    if unknown:
        raise JobApiError(f"unknown field: {', '.join(unknown)[:200]}")
    for name in _UNSUPPORTED_FIELDS:
        if body.get(name):
            raise JobApiError(
                f"{name} is not supported by the local controller: its workers offer CPUs and nothing else"
            )
    metadata = as_strings(body.get("metadata", {}), "metadata")
    for key in _UNSUPPORTED_KEYS:
        if key in metadata:
            raise JobApiError(
                f"metadata {key} is not supported by the local controller: its workers offer CPUs, and are of no slice"
            )
    job_id = body.get("submission_id", body.get("job_id"))
    return JobRequest(
        entrypoint=as_string(body.get("entrypoint"), "entrypoint"),
        job_id=None if job_id is None else as_string(job_id, "submission_id"),
        env=_environment(as_mapping(body.get("runtime_env", {}), "runtime_env")),
        replicas=_whole_number(metadata.pop(REPLICAS_KEY, "1"), REPLICAS_KEY),
        cpus_per_replica=_cpus(metadata.pop(CPUS_KEY, None), body.get("entrypoint_num_cpus")),
        coscheduled=_coscheduled(metadata.pop(COSCHEDULED_KEY, "false")),
        retries=_whole_number(metadata.pop(RETRIES_KEY, "0"), RETRIES_KEY),
        metadata=metadata,
    )


def _environment(runtime_env: dict[str, Any]) -> dict[str, str]:
    # Keys with an underscore are notes that Ray's client leaves for its server.
    unsupported = sorted(
        key for key in runtime_env if key != "env_vars" and not key.startswith("_") and runtime_env[key]
    )
    if unsupported:
        raise JobApiError(
            f"runtime_env: {', '.join(unsupported)[:200]} is not supported by the local controller; env_vars is"
        )
    return as_strings(runtime_env.get("env_vars") or {}, "runtime_env.env_vars")


def _whole_number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004 - int() itself refuses thousands of digits
        raise JobApiError(f"metadata {key} must be a whole number, is {text[:40]!r}")
    return int(text)


def _cpus(text: str | None, entrypoint_num_cpus: object) -> float:
    if text is None:
        # Ray's client may ask for 0 CPUs, by which Ray means "not counted"; here every replica counts.
        if isinstance(entrypoint_num_cpus, bool) or not isinstance(entrypoint_num_cpus, int | float | None):
            raise JobApiError("entrypoint_num_cpus must be a number")
        return float(entrypoint_num_cpus or 1.0)
    try:
        return float(text)
    except ValueError as error:
        raise JobApiError(f"metadata {CPUS_KEY} must be a number, is {text[:40]!r}") from error


def _coscheduled(text: str) -> bool:
    if text not in _BOOLEANS:
        raise JobApiError(f"metadata {COSCHEDULED_KEY} must be true or false, is {text[:40]!r}")
    return _BOOLEANS[text]
