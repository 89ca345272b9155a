"""What is read of a real engine's log file lands exactly as what that engine serves of it."""

from __future__ import annotations

import itertools
import json
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from iris_core import docker_logs
from iris_core.container_state import ContainerState
from iris_core.json_file_log import JsonFileLog
from iris_core.log_reply import LogReply
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.host import Host
    from tests.lab.lab import Lab

_ODD: Final = r"""
printf 'plain\n\n \n\ttab\rreturn\r\n"quoted" \\ back \\n not a newline / <b>&amp;</b>\n'
printf 'a\000b\001\002\010\013\014\016\033[31mred\033[0m\177\n'
printf '\377\376 not UTF-8 \303\n\355\240\200 a surrogate\n\360\237\220 cut\n' >&2
printf 'caf\303\251 \342\200\250 \342\200\251 \360\237\220\213 \357\273\277 \357\277\275\n'
printf '{"log":"no entry\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'
printf '%016383d\n%016384d\n%016385d\n%040000d\n' 1 2 3 4
head -c 100000 /dev/urandom >&2
head -c 40000 /dev/zero | tr '\000' '\377'
echo
seq 1 5000
seq 1 2000 >&2
printf 'no newline at the end'
"""
_CONTAINERS: Final[dict[str, Sequence[str]]] = {
    "usual": (),
    "terminal": ("--tty",),
    "attributes": ('--label=team=a "b" {c}', '--env=RUN=1,"time":"x', "--log-opt=labels=team", "--log-opt=env=RUN"),
    "tagged": ("--log-opt=tag={{.Name}}/{{.ID}}",),
}


@pytest.mark.lab
@pytest.mark.timeout(120)
def test_a_log_lands_the_same_by_its_file_as_by_the_engine(lab: Lab) -> None:
    """Odd bytes, long lines, terminals and attributes; and wherever the file is cut into pieces."""
    lab.add_instance("vm")
    host = lab.host("vm")
    for name, options in _CONTAINERS.items():
        host.docker("run", f"--name={name}", *options, IMAGE, "sh", "-c", _ODD)
    for name in _CONTAINERS:
        [inspected] = json.loads(host.docker("inspect", name).stdout)
        served = _served(host, inspected)
        file = _file(host, inspected)
        assert served.count(b"\n") > 7000, name
        for seed in range(5):
            same = _landed(file, random.Random(seed)) == served  # noqa: S311 - not for secrets
            assert same, name  # without pytest's comparison of a megabyte
        begin = len(file) // 2
        later = JsonFileLog(from_start=False).feed(file[begin:]).data
        assert later
        same = served.endswith(later)
        assert same, name
        assert served.count(b"\n") - later.count(b"\n") == file[: file.index(b"\n", begin) + 1].count(b"\n")


def _served(host: Host, inspected: dict[str, object]) -> bytes:
    """What lands of the engine's answer."""
    reply = LogReply(tty=ContainerState.from_json(inspected).tty)
    landed = []
    with socket.socket(socket.AF_UNIX) as engine:
        engine.settimeout(20)
        engine.connect(host.engine_socket)
        engine.sendall(docker_logs.logs_request(str(inspected["Id"]), follow=False))
        while not reply.complete:
            landed.append(reply.feed(engine.recv(65536)).data)
    reply.check()
    return b"".join(landed)


def _file(host: Host, inspected: dict[str, object]) -> bytes:
    """What is in the file that iris would read."""
    path = ContainerState.from_json(inspected).json_file
    assert path == inspected["LogPath"]
    [process] = [one for one in host.processes() if Path(f"/proc/{one.pid}/comm").read_text().strip() == "dockerd"]
    return Path(f"/proc/{process.pid}/root{path}").read_bytes()


def _landed(file: bytes, choices: random.Random) -> bytes:
    """What lands of the file, in pieces."""
    cuts = sorted(choices.sample(range(1, len(file)), 300))
    log = JsonFileLog(from_start=True)
    pieces = [log.feed(file[begin:end]).data for begin, end in itertools.pairwise([0, *cuts, len(file)])]
    assert log.consumed == len(file)
    return b"".join(pieces)
