"""Landing what iris logs through Python's logging: in local mode that is where the workers' lines are."""

from __future__ import annotations

import fcntl
import logging
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from iris_core.errors import LogFileError, LogFileLockedError
from iris_core.log_paths import open_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import TextIOWrapper
    from pathlib import Path


@contextmanager
def landed_python_logs(path: Path) -> Iterator[None]:
    """Append what the loggers `iris.*` say, from INFO on, to a file, while the context is open.

    A file that cannot be written any more ends nothing: it is told once, on standard error.

    Raises:
        LogFileLockedError: another process lands there.
        LogFileError: the file cannot be written.
    """
    handler = _FileHandler(path)
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


class _FileHandler(logging.StreamHandler["TextIOWrapper"]):
    """Appends to a file, as its only writer; the file is this user's only."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = False
        super().__init__(_open(path))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Tell it: logging would print a traceback for each line."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        elif not self.stream.closed:  # a late thread does no harm
            super().handleError(record)

    def close(self) -> None:
        """Close the file."""
        super().close()
        try:
            self.stream.close()  # which tries once more to write what is left
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            with suppress(OSError):
                sys.stderr.write(
                    f"iris: {self._path} cannot be written: {error.strerror or error}. Lines of this run are missing there: "
                    "make room, or choose another directory.\n"
                )


def _open(path: Path) -> TextIOWrapper:
    try:
        file = open_private(path, "a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            file.close()
            raise
    except BlockingIOError:
        raise LogFileLockedError(
            f"Another process lands its logs in {path}. Stop it, or choose another directory.", path=path
        ) from None
    except OSError as error:
        raise LogFileError(f"{path} cannot be written: {error.strerror or error}", path=path) from error
    return file
