"""What a start waits for, on the user's stderr: a spinner for each resource on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from iris_core.progress import Progress, ProgressListener, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_MARKS: Final = {Stage.DONE: Text("✓", style="green"), Stage.FAILED: Text("✗", style="red")}


@contextmanager
def progress_shown() -> Iterator[ProgressListener]:
    """Show every event that the listener hears while the context is open; what a terminal shows then remains there.

    What is printed meanwhile, by the log for one, appears above the spinners.
    """
    if not sys.stderr.isatty():
        yield _Lines().hear
        return
    bars = Bars(
        _MarkColumn(),
        TextColumn("{task.description}", markup=False),
        TextColumn(
            "{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        expand=True,
        redirect_stdout=False,  # where the result goes, and perhaps a pipe
    )
    with bars:
        yield _Spinners(bars).hear


class _Lines:
    """A line for every event that says something new of its resource."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, Progress] = {}

    def hear(self, event: Progress) -> None:
        with self._lock:
            if self._last.get(event.resource) == event:
                return
            self._last[event.resource] = event
            failed = "failed: " if event.stage is Stage.FAILED else ""
            sys.stderr.write(f"{event.resource}: {failed}{_first_line(event.text)}\n")
            sys.stderr.flush()


class _Spinners:
    """A line on the terminal for every resource, which changes as the events come."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._lock = threading.Lock()
        self._tasks: dict[str, TaskID] = {}

    def hear(self, event: Progress) -> None:
        with self._lock:
            if event.resource not in self._tasks:
                self._tasks[event.resource] = self._bars.add_task(event.resource, total=1, text="", stage=event.stage)
            task = self._tasks[event.resource]
            self._bars.update(
                task,
                text=_first_line(event.text),
                stage=event.stage,
                completed=int(event.stage is Stage.DONE),
            )
            if event.stage is Stage.FAILED:
                self._bars.stop_task(task)


class _MarkColumn(ProgressColumn):
    """A spinner that becomes a mark."""

    def __init__(self) -> None:
        super().__init__()
        self._spinner = SpinnerColumn()

    def render(self, task: Task) -> RenderableType:
        return _MARKS.get(task.fields["stage"]) or self._spinner.render(task)


def _first_line(text: str) -> str:
    """The rest of an error comes with the command's own message."""
    return text.partition("\n")[0]
