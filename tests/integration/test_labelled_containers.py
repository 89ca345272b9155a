"""The containers of a label on a real engine: those that nobody had heard of when the capture was told to end, too."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import pytest

from iris_core import docker_logs
from iris_core.config import LogConfig
from iris_core.container_state import names_of
from iris_core.engine_api import HttpReply, Message
from tests.integration.real_capture import MAIN_CONTAINER, capturing, landed_path
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.host import Host
    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(60)]

_LABEL: Final = LogConfig().container_label or ""


def _run(vm: Host, name: str) -> None:
    vm.docker("run", f"--name={name}", f"--label={_LABEL}", "--network=none", IMAGE, "echo", f"I am {name}")


def test_a_capture_that_ends_at_once_lands_what_bears_the_label(lab: Lab, tmp_path: Path) -> None:
    """Without a second in which it could have heard of them."""
    lab.add_instance("vm")
    vm = lab.host("vm")
    for name in (MAIN_CONTAINER, "one", "two"):
        _run(vm, name)
    output_dir = tmp_path / "landed"
    with capturing(lab, vm, output_dir):
        pass
    landed = {path.stem: path.read_text(encoding="utf-8") for path in output_dir.rglob("*.txt")}
    main = landed_path(output_dir, vm).stem
    assert {name: text.split(" ", 3)[3] for name, text in landed.items()} == {
        main: f"I am {MAIN_CONTAINER}\n",
        "one": "I am one\n",
        "two": "I am two\n",
    }


def test_the_engine_tells_of_what_came_since_its_list(lab: Lab) -> None:
    """What is created after the list was made, and before anybody listens, is told of by the date of that list."""
    lab.add_instance("vm")
    vm = lab.host("vm")
    with socket.socket(socket.AF_UNIX) as engine:
        engine.settimeout(10.0)
        engine.connect(vm.engine_socket)
        engine.sendall(docker_logs.list_request(_LABEL))
        listed = Message(HttpReply())
        while not listed.reply.complete:
            listed.add(listed.reply.feed(engine.recv(1 << 16)))
        assert names_of(listed.json()) == frozenset()
        assert listed.reply.date is not None
        _run(vm, "one")
        engine.sendall(docker_logs.changes_request(_LABEL, listed.reply.date))
        changes = HttpReply()
        told: list[bytes] = []
        while not told:
            told += changes.feed(engine.recv(1 << 16))
        assert b'"one"' in told[0]
