"""Why a replica of a gang failed: by itself, or because another's host has gone.

Replicas that work together notice a lost host at once, and fail; Ray notices it some 15 s later. So before a failure is believed, the
other replicas' actors are asked for a sign of life: those that are alive answer at once, one whose host has gone will be lost.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import ActorUnavailableError, RayError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_SECONDS = 60.0  # Ray's health check needs 15 s, on a busy cluster more


class Doubt:
    """The question put to the replicas that run when one of their gang has failed.

    Args:
        others: their actors by index.
    """

    def __init__(self, others: Mapping[int, Any]) -> None:
        self._ends_by = time.monotonic() + _MOST_SECONDS
        self._asked = {other: (actor, actor.node_id.remote()) for other, actor in others.items()}

    def is_over(self, running: Mapping[int, object]) -> bool:
        """Whether all of them that still run have answered, so that the failure was one of its own."""
        for other, (actor, question) in tuple(self._asked.items()):
            if other not in running:
                del self._asked[other]
            elif ray.wait([question], timeout=0)[0]:
                try:
                    ray.get(question)
                    del self._asked[other]
                except ActorUnavailableError:  # for the moment
                    self._asked[other] = (actor, actor.node_id.remote())
                except RayError:  # it has died: the driver is about to hear of the loss
                    pass
        return not self._asked or time.monotonic() >= self._ends_by
