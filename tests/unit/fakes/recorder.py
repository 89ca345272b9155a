"""A listener that remembers what it heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.errors import RemoteShellError

Heard: TypeAlias = tuple[str, bytes | int | str]


class Recorder:
    """Implements `ProcessListener`; `react` runs inside each call, `deepest` is how deep the calls were nested."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.react: Callable[[Heard], object] = lambda _: None
        self.deepest = 0
        self._depth = 0

    def on_stdout(self, data: bytes) -> None:
        """Remembered."""
        self._hear(("out", data))

    def on_stderr(self, data: bytes) -> None:
        """Remembered."""
        self._hear(("err", data))

    def on_exit(self, status: int) -> None:
        """Remembered."""
        self._hear(("exit", status))

    def on_error(self, error: RemoteShellError) -> None:
        """Remembered."""
        self._hear(("error", type(error).__name__))

    def _hear(self, heard: Heard) -> None:
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        self.heard.append(heard)
        self.react(heard)
        self._depth -= 1
