"""How often, and how soon again, lost slices of one group are re-created. No I/O, no clock: `now` is monotonic."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from iris_core.errors import (
    ApiDisabledError,
    InvalidRequestError,
    InventoryError,
    NotAuthenticatedError,
    PermissionDeniedError,
    QuotaExceededError,
    ResourceExistsError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.config import WorkerGroupConfig
    from iris_core.errors import IrisError

_HOPELESS: Final = (ApiDisabledError, NotAuthenticatedError, PermissionDeniedError)
_HOPELESS_CREATION: Final = (*_HOPELESS, InvalidRequestError, QuotaExceededError, ResourceExistsError)
_HOUR_SECONDS: Final = 3600.0
_FIRST_RETRY_SECONDS: Final = 30.0
_MOST_RETRY_SECONDS: Final = 600.0


class HealedGroup:
    """What is known of a group that is healed.

    Args:
        config: of the group.
        jitter: gives numbers from 0 to 1, to spread the retries of many.

    Attributes:
        config: of the group.
        given_up: trying again cannot help, before somebody has put it right.
        told_spent: that the hour's budget is used up.
    """

    def __init__(self, config: WorkerGroupConfig, jitter: Callable[[], float]) -> None:
        self.config = config
        self.given_up = False
        self.told_spent = False
        self._jitter = jitter
        self._created_at: deque[float] = deque()  # within the last hour
        self._failures = 0
        self._retry_at = 0.0

    def budget(self, now: float) -> int:
        """How many more may be created within this hour."""
        while self._created_at and self._created_at[0] <= now - _HOUR_SECONDS:
            self._created_at.popleft()
        return self.config.most_recreations_per_hour - len(self._created_at)

    def most(self, now: float) -> int:
        """How many may be created at this moment."""
        return 0 if self.given_up or now < self._retry_at else max(self.budget(now), 0)

    def created(self, now: float) -> None:
        """One was created, or asked for."""
        self._created_at.append(now)
        if now >= self._retry_at:  # or another of the same moment has failed
            self._failures = 0

    def failed(self, error: IrisError, now: float) -> float | None:
        """One could not be created. Returns in how many seconds the group is tried again, None: not before it is whole again.

        A failure that is neither known to pass nor known not to (a slice that was preempted while it was being created, say) is
        tried again, but counts as a creation.
        """
        if isinstance(error, _HOPELESS_CREATION):
            self.given_up = True
            return None
        if not (isinstance(error, InventoryError) and error.retryable):
            self._created_at.append(now)
        return self._put_off(now)

    def not_cleared(self, error: IrisError, now: float) -> float | None:
        """What was lost could not be deleted, or it is not known what there is. Returns as `failed` does.

        It costs nothing to try that again, and what Google refuses now (a request that is just being suspended, say) it may do later.
        """
        if isinstance(error, _HOPELESS):
            self.given_up = True
            return None
        return self._put_off(now)

    def _put_off(self, now: float) -> float:
        if now >= self._retry_at:  # those that failed together are one failure
            self._failures += 1
            seconds = min(_MOST_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10))
            self._retry_at = now + seconds * (0.5 + self._jitter() / 2)
        return self._retry_at - now
