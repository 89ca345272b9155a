"""Giving memory back that connecting has taken."""

from __future__ import annotations

import ctypes
from contextlib import suppress


def give_back_heap() -> None:
    """Have the C library return what it holds and nobody uses; nothing where it is not glibc.

    Logins take turns on tens of threads, each with a heap of its own for what OpenSSL needs meanwhile: 8 KB for each connection, that stay.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
