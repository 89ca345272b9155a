"""Doing the same slow thing to several resources at the same time."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Final, TypeVar

from iris_core.errors import IrisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MOST_AT_ONCE: Final = 4  # each is a gcloud process of about 100 MB; more of them get into each other's way

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def do_each(
    action: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    call_off: Callable[[], object],
    at_once: int = _MOST_AT_ONCE,
) -> list[_Result | IrisError]:
    """Call `action` with every item, several at a time, to the end of all; the failure of one does not stop the others.

    Args:
        action: what is to be done.
        items: to what.
        at_once: how many at a time.
        call_off: ends the actions that run, as soon as can be. Called when something else than an `IrisError` ends all of it.

    Returns:
        for each item, in order, what `action` returned, or the `IrisError` that it raised.

    Raises:
        BaseException: what else an action raised, or what interrupted this thread (Ctrl-C). What had not begun then never begins, and
            what had is called off and not waited for.
    """

    def attempt(item: _Item) -> _Result | IrisError:
        try:
            return action(item)
        except IrisError as error:
            return error

    threads = ThreadPoolExecutor(at_once, thread_name_prefix="iris-parallel")
    try:
        futures = [threads.submit(attempt, item) for item in items]
        # Not in their order: an error that nobody foresaw is not to wait for the actions before its own.
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        results = [future.result() for future in futures]
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        call_off()
        raise
    threads.shutdown()
    return results
