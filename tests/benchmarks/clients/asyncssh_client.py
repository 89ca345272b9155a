"""asyncssh: one event loop for all hosts, each one's bytes written to its file as they come."""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

import asyncssh

from tests.benchmarks.clients import say_stopped, wait_for_start, wait_for_stop

if TYPE_CHECKING:
    from tests.benchmarks.clients import Task

_AT_ONCE = 32  # as iris


class FileSession(asyncssh.SSHClientSession[bytes]):
    """Writes what comes to a file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def data_received(self, data: bytes, datatype: int | None) -> None:  # noqa: ARG002 - asyncssh's signature
        """See asyncssh."""
        os.write(self._descriptor, data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's signature
        """See asyncssh."""
        os.close(self._descriptor)


async def _stream(
    task: Task, number: int, key: asyncssh.SSHKey, known_hosts: str, limit: asyncio.Semaphore
) -> asyncssh.SSHClientConnection:
    async with limit:
        connection = await asyncssh.connect(
            task.addresses[number],
            task.port,
            username=task.user,
            client_keys=[key],
            known_hosts=known_hosts,
            config=None,
            agent_path=None,
            encryption_algs=["aes128-gcm@openssh.com"],
            compression_algs=["none"],
        )
        path = task.path(number)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        await connection.create_session(partial(FileSession, descriptor), task.remote_command(), encoding=None)
    return connection


async def _run(task: Task) -> None:
    known_hosts = str(await asyncio.to_thread(task.known_hosts))
    key = asyncssh.read_private_key(task.key_file)  # once: it takes 0.1 s of CPU to check
    limit = asyncio.Semaphore(_AT_ONCE)
    connections = await asyncio.gather(
        *(_stream(task, number, key, known_hosts, limit) for number in range(len(task.addresses)))
    )
    await asyncio.to_thread(wait_for_stop)
    for connection in connections:
        connection.close()
    await asyncio.gather(*(connection.wait_closed() for connection in connections))


if __name__ == "__main__":
    asyncio.run(_run(wait_for_start()))
    say_stopped()
