"""Fabric's own `run` for each host, in a thread of its own, its output written to a file."""

from __future__ import annotations

import os
import threading
from io import TextIOBase
from typing import TYPE_CHECKING

from fabric import Config, Connection

from tests.benchmarks.clients import say_stopped, wait_for_start, wait_for_stop

if TYPE_CHECKING:
    from tests.benchmarks.clients import Task

_AT_ONCE = 32  # as iris


class LandedText(TextIOBase):
    """What Invoke's runner wants to write to: a text file that flushes at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        """Write."""
        return os.write(self._descriptor, text.encode())


def _stream(task: Task, number: int, known_hosts: str, limit: threading.Semaphore) -> None:
    connection = Connection(
        task.addresses[number],
        user=task.user,
        port=task.port,
        config=Config(lazy=True),
        connect_kwargs={"key_filename": task.key_file, "allow_agent": False, "look_for_keys": False},
    )
    connection.client.load_host_keys(known_hosts)
    with limit:
        connection.open()
    descriptor = os.open(task.path(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    connection.run(task.remote_command(), hide="err", in_stream=False, out_stream=LandedText(descriptor))


def main() -> None:
    """Run the threads until SIGTERM. They do not end by themselves: `run` returns when the remote command does."""
    task = wait_for_start()
    known_hosts = str(task.known_hosts())
    limit = threading.Semaphore(_AT_ONCE)
    for number in range(len(task.addresses)):
        threading.Thread(target=_stream, args=(task, number, known_hosts, limit), daemon=True).start()
    wait_for_stop()
    say_stopped()
    os._exit(0)


if __name__ == "__main__":
    main()
