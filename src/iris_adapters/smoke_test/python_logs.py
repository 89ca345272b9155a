"""Landing what iris logs through Python's logging: in local mode that is where the workers' lines are."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iris_core.errors import LogFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def landed_python_logs(path: Path) -> Iterator[None]:
    """Append what the loggers `iris.*` say, from INFO on, to a file, while the context is open.

    Raises:
        LogFileError: the file cannot be written.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise LogFileError(f"{path} cannot be written: {error.strerror or error}", path=path) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("iris")
    former = logger.level
    logger.addHandler(handler)
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(former)
        logger.removeHandler(handler)
        handler.close()
