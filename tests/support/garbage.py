"""What is left for Python's collector: with thousands of live objects it comes by seldom, and what waits for it is memory."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS: Final = ("iris_core", "iris_adapters", "paramiko", "fabric")


@contextmanager
def kept_from_collector() -> Iterator[Counter[str]]:
    """Have the collector wait for the end of the context, and count then what it finds.

    Yields:
        How many objects of each class of iris, Paramiko and Fabric led to themselves; filled at the end.
    """
    garbage: Counter[str] = Counter()
    gc.collect()
    before, was_enabled = gc.get_debug(), gc.isenabled()
    gc.disable()
    try:
        yield garbage
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        garbage.update(type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith(_OURS))
    finally:
        gc.set_debug(before)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()
