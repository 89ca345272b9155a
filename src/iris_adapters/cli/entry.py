"""Where the `iris` command begins: before anything heavy is imported, so that Ctrl-C from the first moment on ends it quietly."""

# ruff: noqa: PLC0415 - what this is for

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 128 + signal.SIGINT


def main() -> NoReturn:
    """Run `iris_adapters.cli.main`. Until that handles signals, nothing is at stake, and Ctrl-C exits 130 at once."""
    handles = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # ignored under nohup
    try:
        if handles:
            signal.signal(signal.SIGINT, _leave)  # by no exception: an import may swallow one, or end in a traceback
        from iris_adapters.cli.main import main as run

        if handles:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(_INTERRUPTED)
