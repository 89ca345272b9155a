"""What a start is waiting for, as events for whoever shows them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

_logger = logging.getLogger("iris.cluster")


class Stage(StrEnum):
    """How far one resource is."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where one resource stands now.

    Attributes:
        resource: which: `iris-controller-iris`, or `tpu 2/4` for the second slice of the group tpu, whose name comes later.
        stage: how far it is.
        text: what is waited for, what has come of it, or what went wrong; one line.
    """

    resource: str
    stage: Stage
    text: str


ProgressListener: TypeAlias = Callable[[Progress], None]
"""Hears every event of a start. Called from several threads, one event at a time for each resource; must not raise or block."""


def log_progress(event: Progress) -> None:
    """The listener where nobody gives another: the log."""
    _logger.info("%s: %s", event.resource, event.text)
