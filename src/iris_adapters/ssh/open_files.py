"""Room for many files and sockets."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_many_open_files() -> None:
    """Raise this process's limit of open files as far as it may.

    A streamed host takes two, its socket and its landed file, and many laptops begin with 1,024 (the soft limit) of the many more that
    the hard limit allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # macOS says unlimited, and does not mean it
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
