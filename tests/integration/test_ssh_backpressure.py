"""Many streams over real SSH share one reading thread: none starves the others, and none fills the memory."""

from __future__ import annotations

import gc
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.log_protocol import Ended, Received
from iris_core.process_inbox import ProcessInbox
from tests.contracts.remote_shell_cases import CAT, Recorder, a_host
from tests.integration.test_ssh_streams import Digest, resident_bytes
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.lab

FLOOD = ("cat", "/dev/zero")
QUIET_STREAMS = 20
MOST_LATE_SECONDS = 2.0
SIZE = 200 << 20


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def shell(sshd: Sshd, tmp_path: Path) -> Iterator[FabricShell]:
    config = SshConfig(
        user=sshd.user,
        key_file=str(sshd.user_key),
        port=sshd.port,
        known_hosts_file=str(tmp_path / "known_hosts"),
    )
    made = FabricShell(config, SystemClock(), lambda _host: [sshd.host_key_line])
    yield made
    made.close()


def test_hosts_at_full_speed_do_not_starve_quiet_ones(sshd: Sshd, shell: FabricShell) -> None:
    """While two hosts send all they can, what others write comes through, each time, within two seconds (as a rule a few ms)."""
    floods = [Digest(), Digest()]
    recorders = [Recorder() for _ in range(QUIET_STREAMS)]
    processes = [
        shell.start(a_host(f"quiet-{number}", sshd.address), CAT, recorder) for number, recorder in enumerate(recorders)
    ]
    for process, recorder in zip(processes, recorders, strict=True):
        process.write(b"x")
        assert recorder.wait_until(partial(lambda heard: heard.stdout == b"x", recorder), 60)
    flooding = [shell.start(a_host(f"flood-{number}", sshd.address), FLOOD, each) for number, each in enumerate(floods)]
    ends_at = time.monotonic() + 60
    while min(each.count for each in floods) < SIZE // 4:
        assert time.monotonic() < ends_at
        time.sleep(0.02)

    before = [each.count for each in floods]
    for round_number in range(2, 12):
        for process, recorder in zip(processes, recorders, strict=True):
            process.write(b"x")
            assert recorder.wait_until(
                partial(lambda heard, size: len(heard.stdout) == size, recorder, round_number), MOST_LATE_SECONDS
            )

    shares = [each.count - count for each, count in zip(floods, before, strict=True)]
    assert min(shares) > max(shares) / 3  # and the two share what there is
    for process in flooding:
        process.close()


def test_a_sink_that_takes_nothing_stops_its_host(sshd: Sshd, shell: FabricShell) -> None:
    """A disk that blocks: the inbox fills to its bound, then the window closes; memory stays, and later every byte arrives."""
    host = a_host("w0", sshd.address)
    shell.run(host, ("true",), timeout_seconds=20)
    gc.collect()
    before = resident_bytes()
    mail = threading.Event()
    inbox = ProcessInbox(mail.set)
    inbox.open(shell, host, ("head", "-c", str(SIZE), "/dev/zero"))
    assert mail.wait(20)

    most = before
    for _ in range(30):  # far longer than 200 MiB take to come
        time.sleep(0.1)
        most = max(most, resident_bytes())

    assert most - before < 16 << 20
    received, ended = 0, False
    while not ended:
        assert mail.wait(20)
        mail.clear()
        events = inbox.take()
        while (event := inbox.first_of(events)) is not None:
            if isinstance(event, Received):
                received += len(event.data)
            ended = ended or isinstance(event, Ended)
    assert received == SIZE
