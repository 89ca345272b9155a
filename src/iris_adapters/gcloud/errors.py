"""What gcloud prints when it fails → the error of ours that says what it is and what to do next. Pure.

gcloud exits with 1 for nearly everything, and Google's own codes are ambiguous: 8 and RESOURCE_EXHAUSTED stand for a stockout, a
used-up quota and too many requests; 403 for a missing permission, a disabled API and a quota. So the text decides, and the order
of the table is part of its meaning: the first row of which a pattern is found wins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from iris_core.errors import (
    ApiDisabledError,
    CloudUnavailableError,
    InvalidRequestError,
    InventoryError,
    InventoryToolError,
    NotAuthenticatedError,
    OutOfCapacityError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ResourceExistsError,
    ResourceNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTALL_ADVICE: Final = (
    "Install the Google Cloud CLI (https://cloud.google.com/sdk/docs/install) so that `gcloud` is on PATH, "
    "then run `gcloud auth login`."
)

_USAGE_EXIT_STATUS = 2  # argparse's: gcloud did not understand its own command line
_MOST_DETAIL_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class _Row:
    error: type[InventoryError]
    problem: str
    advice: str
    patterns: tuple[str, ...] = ()

    def matches(self, text: str) -> bool:
        return any(re.search(pattern, text, re.IGNORECASE) for pattern in self.patterns)


# Two that have their words in several rows, because what is more specific has to be looked for in between.
_RATE: Final = _Row(
    RateLimitedError,
    "Google Cloud says there were too many requests in a short time",
    "Nothing is wrong: wait a minute and try again.",
)
_QUOTA: Final = _Row(
    QuotaExceededError,
    "The project's quota does not allow it",
    "Delete what is no longer needed, or ask for more at https://console.cloud.google.com/iam-admin/quotas; "
    "trying again does not help until then.",
)

# Texts: gcloud SDK 528 against a local API, Google's documentation, and public issue threads of projects that met them.
_TABLE: Final = (
    _Row(
        InventoryToolError,
        "Several gcloud commands got into each other's way, again and again",
        "Run fewer at a time (gcp.most_gcloud_commands), or give iris its own CLOUDSDK_CONFIG directory.",
        ("database is locked",),
    ),
    _Row(
        NotAuthenticatedError,
        "gcloud has no valid account",
        "Run `gcloud auth login` (or `gcloud auth activate-service-account` where nobody can answer a browser).",
        (
            "gcloud auth login",
            "do not currently have an active account",
            "problem refreshing your current auth tokens",
            "reauthentication (failed|required)",
            "invalid_grant",
            r"(?-i:\bUNAUTHENTICATED\b)",
            "invalid authentication credentials",
            "credentials .{0,60}(expired|revoked)",
        ),
    ),
    _Row(
        ApiDisabledError,
        "An API that iris needs is not enabled in the project",
        "Run `gcloud services enable compute.googleapis.com tpu.googleapis.com`, wait a minute, and try again.",
        ("SERVICE_DISABLED", "has not been used in project", r"API \[[^\]]*\] not enabled", "accessNotConfigured"),
    ),
    replace(
        _RATE,
        patterns=(
            r"\bper (minute|second|\d+ seconds)\b",
            r"'\w*Per(Minute|Second)\w*'",
            "rateLimitExceeded",
            "rate limit exceeded",
        ),
    ),
    # Named quotas come as HTTP's 429 (marin#1612) and as code 8, too.
    replace(_QUOTA, patterns=(r"quota (limit )?'[^']*' (has been )?(exceeded|exhausted)",)),
    _Row(
        OutOfCapacityError,
        "The zone has no capacity for this at the moment (a stockout)",
        "Try again later, or in another zone, or with another type; spot capacity comes and goes within minutes.",
        (
            "no more capacity",
            "insufficient (reserved )?capacity",
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "does not have enough resources available",
            r"\bSTOCKOUT\b",
        ),
    ),
    replace(_RATE, patterns=("too many requests", r"\bHTTPError 429\b")),
    replace(_QUOTA, patterns=("quota exceeded", "quotaExceeded", "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED")),
    _Row(
        OutOfCapacityError,
        "Google Cloud ran out of something (code 8) that it does not name",
        "Most often it is the zone's capacity: try again later, or in another zone.",
        (r'"code":\s*8\b',),
    ),
    _Row(
        ResourceNotFoundError,
        "There is no such zone, or the project may not use it",
        "`gcloud compute zones list` and `gcloud compute tpus locations list` name the zones; see gcp.zone.",
        (
            "unknown zone",
            r"on 'locations/[^']*' \(or it may not exist\)",
            r"location \S+ is not found",
            r"'projects/[^'/]*/zones/[^'/]*' was not found",
            r"'projects/[^'/]*/locations/[^'/]*' was not found",
        ),
    ),
    _Row(
        ResourceNotFoundError,
        "There is no such image",
        "`gcloud compute images list` names the image families and their projects (controller.image_family, "
        "controller.image_project); `gcloud compute tpus tpu-vm versions list` the TPU runtimes (workers.runtime_version).",
        (
            r"/global/images/\S*' was not found",
            r"could not fetch image resource",
            r"/runtimeVersions/\S*' was not found",
            r"runtime ?version\b.{0,80}\b(not found|does not exist|invalid|unsupported)",
            r"(invalid|unknown|unsupported) runtime ?version",
        ),
    ),
    _Row(
        PermissionDeniedError,
        "The account may not do this",
        "Ask for the role that has the permission named here, or use another account (`gcloud config set account …`); "
        "`gcloud auth list` shows which one is used.",
        (
            r"required '[^']*' permission",
            r"permission '[^']*' denied",
            "PERMISSION_DENIED",
            "does not have .{0,80}permission",
            "permission denied on",
            r"\bHTTPError 403\b",
            r"\bforbidden\b",
        ),
    ),
    _Row(
        ResourceExistsError,
        "Something exists already under this name",
        "If it is not yours, use another label_prefix.",
        ("ALREADY_EXISTS", "already exists"),
    ),
    _Row(
        ResourceNotFoundError,
        "What was named does not exist",
        "Check the project, the zone and the name.",
        (r"\bNOT_FOUND\b", "was not found", r"\bHTTPError 404\b"),
    ),
    _Row(
        InvalidRequestError,
        "Google Cloud does not accept these values",
        "Compare the configuration with what the zone offers (`gcloud compute tpus accelerator-types list --zone=…`, "
        "`gcloud compute machine-types list --zones=…`).",
        (
            r"\bINVALID_ARGUMENT\b",
            "FAILED_PRECONDITION",
            "invalid value for",
            "bad request",
            "precondition check failed",
            r"\bHTTPError 4(00|12)\b",
            r"argument --?\S+:",
        ),
    ),
    _Row(
        InventoryToolError,
        "gcloud does not know this command or option: it is too old or too new for iris",
        "Run `gcloud components update` (or your package manager's update of google-cloud-cli).",
        ("unrecognized arguments", "invalid choice:"),
    ),
    _Row(
        CloudUnavailableError,
        "Google Cloud could not be reached, or failed",
        "Check the network and https://status.cloud.google.com, and try again.",
        (
            "unable to find the server",
            "failed to establish a new connection",
            "max retries exceeded",
            "connection (refused|reset|aborted)",
            r"\bUNAVAILABLE\b",
            "service is (currently )?unavailable",
            r"\bHTTPError 5\d\d\b",
            "backend ?error",
            "internal error",
        ),
    ),
    _Row(
        InventoryToolError,
        "gcloud broke",
        "Run `gcloud info --run-diagnostics`; if it persists, reinstall the Google Cloud CLI.",
        ("gcloud crashed", "gcloud failed to load"),
    ),
)


def is_partial(stderr: str) -> bool:
    """Whether a command that exited with 0 has not done or seen all it was to: a list that the API refused, for one."""
    return "Some requests did not succeed" in stderr


def is_contention(stderr: str) -> bool:
    """Whether gcloud failed only because another gcloud held its local database: the same command may be run again."""
    return "database is locked" in stderr


def failure_told(message: str) -> type[InventoryError] | None:
    """What kind of error Google means by a message that is no command's: why a queued resource failed. None: the table has no such."""
    row = _row_of(message)
    return None if row is None else row.error


def gcloud_error(argv: Sequence[str], exit_status: int, stderr: str) -> InventoryError:
    """The error that a failed gcloud command is.

    Args:
        argv: the whole command line.
        exit_status: what it exited with; not 0.
        stderr: all it printed there.
    """
    detail = _detail(stderr)
    row = _row_of(detail)
    if row is not None:
        return row.error(f"{row.problem}.", argv=argv, exit_status=exit_status, detail=detail, advice=row.advice)
    if exit_status == _USAGE_EXIT_STATUS:
        return InventoryToolError(
            "gcloud did not understand its command line.",
            argv=argv,
            exit_status=exit_status,
            detail=detail,
            advice="Run `gcloud components update` (or your package manager's update of google-cloud-cli).",
        )
    return InventoryError(
        f"gcloud failed with exit status {exit_status}.",
        argv=argv,
        exit_status=exit_status,
        detail=detail,
        advice="Run the command by hand with --verbosity=debug to see more.",
    )


def _row_of(text: str) -> _Row | None:
    one_line = " ".join(text.split())  # gcloud wraps some messages, as YAML does
    return next((row for row in _TABLE if row.matches(one_line)), None)


def _detail(stderr: str) -> str:
    """What gcloud says from its first ERROR on, without the warnings before; all of it where there is no ERROR."""
    text = stderr.strip()
    start = text.find("ERROR:")
    detail = text[start:] if start >= 0 else text
    return detail if len(detail) <= _MOST_DETAIL_CHARACTERS else f"{detail[:_MOST_DETAIL_CHARACTERS]} …"
