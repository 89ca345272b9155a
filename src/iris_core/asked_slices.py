"""Requests for slices that were made in place of lost ones, until each is a slice or has come to nothing. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_core.model import QueuedSlice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Container, Sequence


class AskedSlices:
    """Those that are remembered. For one thread."""

    def __init__(self) -> None:
        self._requests: dict[str, QueuedSlice] = {}  # as they were last seen

    @property
    def requests(self) -> list[QueuedSlice]:
        """All that are neither a slice yet nor forgotten, as they were last seen."""
        return list(self._requests.values())

    def add(self, request: QueuedSlice) -> None:
        """Remember one."""
        self._requests[request.name] = request

    def forget(self, request: QueuedSlice) -> None:
        """It was deleted."""
        self._requests.pop(request.name, None)

    def see_slices(self, names: Container[str]) -> None:
        """Forget those that are slices: these are seen by themselves, and deleted with the requests they came from."""
        self._requests = {name: request for name, request in self._requests.items() if name not in names}

    def waiting(self, group: str) -> int:
        """How many slices of a group may still come of them."""
        return sum(one.group == group and one.phase is VmPhase.PENDING for one in self._requests.values())

    def look(self, requests: Sequence[QueuedSlice]) -> tuple[list[QueuedSlice], list[QueuedSlice]]:
        """Take in a list of all requests of the cluster.

        Returns:
            those that have come to nothing, again and again until they are forgotten; and those that somebody has deleted, which are
            forgotten.
        """
        there = {request.name: request for request in requests}
        vanished = [request for name, request in self._requests.items() if name not in there]
        self._requests = {name: there[name] for name in self._requests if name in there}
        return [one for one in self._requests.values() if one.phase is VmPhase.FAILED], vanished


def waiting_among(requests: Sequence[QueuedSlice], slice_names: Container[str]) -> list[QueuedSlice]:
    """The requests that stand for a slice that is not listed yet.

    Args:
        requests: of the cluster.
        slice_names: looked up after them: one that is fulfilled in between is there twice, and not missed.
    """
    return [one for one in requests if one.phase is VmPhase.PENDING and one.name not in slice_names]
