"""The process's standard streams: always there, able to print any text, and never the cause of a traceback.

Standard error only tells: a command does not end because nobody can hear it. Standard output is what was asked for: that it could
not be written is an error, also where whoever wrote has gone on (the smoke test, say).
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from iris_core.errors import IrisError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STANDARD_FDS: Final = (0, 1, 2)
_ANY_TEXT: Final = "backslashreplace"


class OutputError(IrisError, OSError):
    """Standard output cannot be written. It is an OSError too, as from any file."""


class StandardOutput(io.FileIO):
    """Standard output's descriptor.

    Attributes:
        problem: why it could not be written, None while it could. A reader that has gone is none.
    """

    problem: OutputError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """As any file.

        Raises:
            BrokenPipeError: the reader has gone.
            OutputError: it cannot be written.
        """
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.problem = OutputError(
                f"cannot write to standard output: {error.strerror or error}. What was to be printed there is lost, or cut short."
            )
            raise self.problem from error


class StandardError(io.FileIO):
    """Standard error's descriptor: what cannot be written is dropped."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written."""
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def prepare_streams() -> StandardOutput | None:
    """Make the standard streams what this module says; once at the beginning, before anything is opened.

    Returns:
        standard output, None where it is not a descriptor's (in tests).
    """
    for fd in _STANDARD_FDS:  # a closed one would be given to the next file or connection, and printed into
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - it takes no name
    out, err = sys.stdout, sys.stderr
    output = None
    with suppress(OSError):  # a test's stream has no descriptor
        output = StandardOutput(1 if out is None else out.fileno(), "wb", closefd=False)
        sys.stdout = _text(output, out)
    with suppress(OSError):
        sys.stderr = _text(StandardError(2 if err is None else err.fileno(), "wb", closefd=False), err)
    return output


def finish_output(output: StandardOutput | None) -> OutputError | None:
    """Write what has not been written yet; why standard output could not be written, None if it could or its reader has gone."""
    try:
        sys.stdout.flush()
    except OSError:
        if output:  # Python itself will try again at its end: that shall not fail, and aloud
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), output.fileno())
    return output.problem if output else None


def _text(raw: io.FileIO, former: TextIO | None) -> TextIO:
    at_once = isinstance(former, io.TextIOWrapper) and (former.line_buffering or former.write_through)
    encoding = None if former is None else former.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors=_ANY_TEXT, line_buffering=at_once)
