"""A real capture of a log that is long and goes on: over a real sshd, from a real engine and that engine's own file."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from iris_core import json_file_reading
from iris_core.log_paths import events_path
from tests.integration.real_capture import MAIN_CONTAINER, capturing, landed_path
from tests.lab.images import IMAGE
from tests.lab.processes import wait_until
from tests.lab.requirements import DOCKER
from tests.support.log_files import make_plenty

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab

_FIRST_LINES: Final = 200_000  # written before the capture begins
_MORE_LINES: Final = 50_000  # landed at least while the container goes on
_MOST_LINES: Final = 1_000_000  # written, so that a test that fails fills no disk
_PAYLOAD_BYTES: Final = len('0000001 a "line"\tof <some> length\n')
_LANDED_BYTES: Final = len("2026-01-01T00:00:00.123456789Z stdout F ") + _PAYLOAD_BYTES
_WRITER: Final = rf"""
lines() {{ awk -v from=$1 -v to=$2 'BEGIN {{ for (i = from; i <= to; i++) printf "%07d a \"line\"\tof <some> length\n", i }}'; }}
lines 1 {_FIRST_LINES}
touch /written
n={_FIRST_LINES}
until [ -e /stop ] || [ $n -ge {_MOST_LINES} ]; do
    lines $((n + 1)) $((n + 4000))
    lines $((n + 4001)) $((n + 5000)) >&2
    n=$((n + 5000))
    usleep 20000
done
"""


class _Part(json_file_reading._Part):
    """Counts how many bytes all such parts have landed of the file: one may be read, and its place not be found."""

    all_landed_bytes = 0

    def take(self, data: bytes) -> None:
        before = self.landed_bytes
        super().take(data)
        _Part.all_landed_bytes += self.landed_bytes - before


@pytest.mark.lab
@pytest.mark.timeout(180)
def test_a_long_log_that_goes_on_lands_whole_by_its_file(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `docker logs --timestamps` has is landed, each line once and in order; most of it came of the engine's file."""
    make_plenty(monkeypatch, 100_000)  # so little that a slow machine's answers are fast enough, too
    monkeypatch.setattr(json_file_reading, "_Part", _Part)
    monkeypatch.setattr(_Part, "all_landed_bytes", 0)
    lab.add_instance("vm")
    vm = lab.host("vm")
    vm.docker("run", "--detach", f"--name={MAIN_CONTAINER}", IMAGE, "sh", "-c", _WRITER)
    wait_until(
        lambda: vm.docker("exec", MAIN_CONTAINER, "test", "-e", "/written", check=False).returncode == 0,
        60,
        "the first lines",
    )
    path = landed_path(tmp_path / "landed", vm)
    with capturing(lab, vm, path.parent):
        enough = (_FIRST_LINES + _MORE_LINES) * _LANDED_BYTES
        wait_until(lambda: path.exists() and path.stat().st_size >= enough, 60, "the landing of what goes on")
        vm.docker("exec", MAIN_CONTAINER, "touch", "/stop")
        vm.docker("wait", MAIN_CONTAINER)

    command = [DOCKER, "-H", f"unix://{vm.engine_socket}", "logs", "--timestamps", MAIN_CONTAINER]
    served = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    landed = [line.split(b" ", 3) for line in path.read_bytes().splitlines(keepends=True)]
    same = b"".join(b"%b %b" % (stamp, payload) for stamp, _, _, payload in landed) == served
    assert same  # without pytest's comparison of megabytes
    numbers = [int(payload[:7]) for _, _, _, payload in landed]
    assert len(numbers) > _FIRST_LINES + _MORE_LINES
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert {(stream, tag) for _, stream, tag, _ in landed} == {(b"stdout", b"F"), (b"stderr", b"F")}
    assert _Part.all_landed_bytes > _FIRST_LINES * _LANDED_BYTES // 2
    told = [json.loads(line)["event"] for line in events_path(path).read_text(encoding="utf-8").splitlines()]
    assert not {"gap", "not-drained", "unverified-head", "unverified-tail"}.intersection(told), told
