from __future__ import annotations

import io
import os
import pty
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from iris_adapters.cli.progress import progress_shown
from iris_core.progress import Progress, Stage

if TYPE_CHECKING:
    import pytest

EVENTS = [
    Progress("iris-controller-iris", Stage.WAITING, "its VM is being created"),
    Progress("tpu 1/2", Stage.WAITING, "waits in the queue [WAITING]"),
    Progress("tpu 1/2", Stage.WAITING, "waits in the queue [WAITING]"),
    Progress("iris-controller-iris", Stage.DONE, "its VM is ready, at 10.0.0.9"),
    Progress("tpu 1/2", Stage.FAILED, "not fulfilled in time\nTry again later."),
]


def test_elsewhere_than_on_a_terminal_there_is_a_line_for_each_piece_of_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been said is not said again; an error's advice comes with the error itself."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_shown() as listener:
        for event in EVENTS:
            listener(event)
    assert stream.getvalue().splitlines() == [
        "iris-controller-iris: its VM is being created",
        "tpu 1/2: waits in the queue [WAITING]",
        "iris-controller-iris: its VM is ready, at 10.0.0.9",
        "tpu 1/2: failed: not fulfilled in time",
    ]


def read_all(terminal: int) -> bytes:
    """What has been written on the other side, which is closed; one read need not give all of it."""
    pieces = []
    with os.fdopen(terminal, "rb", buffering=0) as file, suppress(OSError):  # Linux's word for the end
        while piece := file.read(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def test_on_a_terminal_each_resource_has_a_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed meanwhile is not overwritten; at the end each line shows what has become of its resource."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_shown() as listener:
            for event in EVENTS:
                listener(event)
            sys.stderr.write("a warning from elsewhere\n")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read_all(ours).decode())
    assert "a warning from elsewhere" in shown
    last = [line for line in shown.replace("\r", "\n").splitlines() if line.strip()][-2:]
    assert "✓ iris-controller-iris its VM is ready, at 10.0.0.9" in last[0]
    assert "✗ tpu 1/2              not fulfilled in time" in last[1]
