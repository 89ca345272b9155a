"""The actor that runs one replica on a worker. Its class travels to the worker by value, so it refers to nothing of this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from typing import Any

import ray

_MOST_KEPT_CHARACTERS = 16 * 1024 * 1024  # of lines that the driver has not taken yet; then the replica has to wait
_MOST_LINES = 2000  # in one answer
_MOST_CHARACTERS = 1024 * 1024  # in one answer, but for one line
_KEEPER_KILLED = -9


class Replica:
    """One replica: a keeper process, and its lines until the driver has taken them. Its methods run on threads of their own."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lines: deque[str] = deque()
        self._taken = 0  # how many lines the driver has acknowledged
        self._characters = 0
        self._exit_code: int | None = None
        self._control: Any = None

    def node_id(self) -> str:
        """Ray's id of the node that this runs on."""
        node_id: str = ray.get_runtime_context().get_node_id()
        return node_id

    def start(self, keeper_source: str, spec: dict[str, Any], drop: list[str], log_variable: str) -> None:
        """Start the command line.

        Args:
            keeper_source: the text of `keeper.py`.
            spec: the keeper's, but for `env` and `log`; `env` there is what the job adds to the worker's environment.
            drop: variables of the worker's environment that are not the job's.
            log_variable: the variable that names the file for the output.
        """
        inherited = {name: value for name, value in os.environ.items() if name not in drop}
        # Unbuffered, else a Python job's lines would come in blocks, long after they were printed.
        env = {"PYTHONUNBUFFERED": "1", **inherited, **spec["env"]}
        spec = {**spec, "env": env, "log": os.environ.get(log_variable) or None}
        launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", keeper_source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert launcher.stdin is not None  # noqa: S101 - for mypy: Popen was asked for pipes
        assert launcher.stdout is not None  # noqa: S101
        launcher.stdin.write(json.dumps(spec).encode() + b"\n")
        launcher.stdin.flush()
        self._control = launcher.stdin
        launcher.wait()  # at once: the keeper is its child, and nobody's when it has gone
        threading.Thread(target=self._read, args=(launcher.stdout,), daemon=True).start()

    def poll(self, position: int, seconds: float) -> tuple[list[str], int | None]:
        """Wait for lines from `position` on, which acknowledges those before it.

        Returns:
            lines, none after `seconds` without any; and the exit code once it has ended and no line follows.
        """
        with self._changed:
            while self._taken < position:
                self._characters -= len(self._lines.popleft())
                self._taken += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lines or self._exit_code is not None, seconds)
            lines: list[str] = []
            characters = 0
            for line in self._lines:
                characters += len(line)
                if lines and (characters > _MOST_CHARACTERS or len(lines) >= _MOST_LINES):
                    break
                lines.append(line)
            return lines, None if lines else self._exit_code

    def stop(self) -> None:
        """Have the keeper end it: SIGTERM, and after the grace SIGKILL."""
        try:
            if self._control is not None:
                self._control.close()
        except OSError:
            pass  # it has ended

    def _read(self, news: Any) -> None:
        exit_code = _KEEPER_KILLED
        for text in news:
            item = json.loads(text)
            if "exit" in item:
                exit_code = item["exit"]
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._characters < _MOST_KEPT_CHARACTERS)
                self._lines.extend(item["lines"])
                self._characters += sum(map(len, item["lines"]))
                self._changed.notify_all()
        with self._changed:
            self._exit_code = exit_code
            self._changed.notify_all()
