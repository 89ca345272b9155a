"""Which failed command is run again, when, and when no more."""

from __future__ import annotations

import pytest

from iris_adapters.gcloud.retries import pause_before_retry
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

TPUS = CloudUnavailableError("x", argv=["gcloud", "compute", "tpus", "tpu-vm", "list"])
LOCKED = InventoryToolError("locked", detail="ERROR: gcloud crashed (OperationalError): database is locked")


def pauses(error: InventoryError, *, changes: bool, jitter: float = 1.0) -> list[float]:
    """The pauses of a command that fails with this for ever."""
    found: list[float] = []
    while (pause := pause_before_retry(error, len(found) + 1, changes=changes, jitter=lambda: jitter)) is not None:
        found.append(pause)
        assert len(found) < 100
    return found


@pytest.mark.parametrize(
    ("error", "of_reads", "of_changes"),
    [
        (RateLimitedError("x"), [2, 4, 8], [2, 4, 8, 16, 32]),
        (CloudUnavailableError("x"), [1, 2, 4], []),
        (TPUS, [], []),  # gcloud has tried it again
        (LOCKED, [1, 2, 4, 8], [1, 2, 4, 8]),
    ],
    ids=["too many requests", "unavailable", "unavailable TPUs", "locked"],
)
def test_what_passes_by_itself_is_tried_again_for_a_while(
    error: InventoryError, of_reads: list[float], of_changes: list[float]
) -> None:
    """With pauses that double, spread over their second half; what may have been done is not done again."""
    assert pauses(error, changes=False) == of_reads
    assert pauses(error, changes=True) == of_changes
    assert pauses(error, changes=True, jitter=0.0) == [pause / 2 for pause in of_changes]


@pytest.mark.parametrize(
    "error",
    [
        kind("x")
        for kind in (
            InventoryError,
            InventoryToolError,
            NotAuthenticatedError,
            PermissionDeniedError,
            ApiDisabledError,
            ResourceNotFoundError,
            ResourceExistsError,
            OutOfCapacityError,
            QuotaExceededError,
            InvalidRequestError,
        )
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_retrying_cannot_help_is_not_tried_again(error: InventoryError) -> None:
    """Neither a stockout: how long to wait for capacity is not for a command to decide."""
    assert pauses(error, changes=False) == pauses(error, changes=True) == []
