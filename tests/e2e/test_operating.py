"""docs/operating.md, command by command: whoever follows the page gets from a project and a zone to a cluster and back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from iris_adapters.controller.app import make_app
from iris_adapters.controller.local_engine import LocalEngine
from iris_adapters.controller.server import ServerThread, bind
from iris_adapters.system_clock import SystemClock
from iris_core.config import ControllerConfig
from tests.lab.cloud import PROJECT
from tests.lab.images import IMAGE
from tests.lab.machines import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

DOCS = Path(__file__).parents[2] / "docs"


class Block(NamedTuple):
    """Commands of the page: `in_background` are those "in a terminal of its own"."""

    commands: str
    in_background: bool


def blocks() -> list[Block]:
    """The page's commands, in order."""
    page = (DOCS / "operating.md").read_text(encoding="utf-8")
    found = re.findall(r"^```sh( terminal)?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [Block(commands, bool(terminal)) for terminal, commands in found]


def filled_in() -> str:
    """The example, with project and images filled in, and with the smallest slices, which boot fastest."""
    text = (DOCS / "examples" / "tpu.yaml").read_text(encoding="utf-8")
    text = re.sub(r"v5litepod-\d+", "v5litepod-4", text.replace("my-project", PROJECT))
    return re.sub(
        r"^( *)image: .*$", rf'\1image: {IMAGE}\n\1command: [chatter, "20000", "20"]', text, flags=re.MULTILINE
    )


class Reader:
    """Somebody who follows the page in a directory."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = {**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
        self.terminals: list[subprocess.Popen[bytes]] = []
        self._exports = ""

    def run(self, commands: str) -> str:
        """Carry out a block, and return what it printed on both streams; it must succeed."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self._exports + commands],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\nexited with {done.returncode}:\n{done.stdout}"
        self._exports += "".join(f"{line}\n" for line in commands.splitlines() if line.startswith("export "))
        return done.stdout

    def open_terminal(self, commands: str) -> None:
        """Begin a block in a terminal of its own, and wait until the controller's log lands in the directory that it names last."""
        output = self.directory / f"terminal-{len(self.terminals)}.txt"
        with output.open("wb") as file:
            self.terminals.append(
                subprocess.Popen(
                    # as in a terminal, also where this process was started with SIGINT ignored
                    ["env", "--default-signal=INT", "bash", "-c", f"{self._exports}exec {commands}"],
                    cwd=self.directory,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                )
            )
        landed = self.directory / commands.rsplit(maxsplit=1)[-1] / "controller-logs.txt"
        deadline = time.monotonic() + 90
        while not (
            landed.exists()
            and landed.stat().st_size
            and (b"IRIS_URL" in output.read_bytes() or "connect" not in commands)
        ):
            assert time.monotonic() < deadline, output.read_text()
            assert self.terminals[-1].poll() is None, output.read_text()
            time.sleep(0.2)

    def close_terminals(self) -> None:
        """Ctrl-C in each, one after the other; all end in order."""
        for number, terminal in enumerate(self.terminals):
            terminal.send_signal(signal.SIGINT)
            code = terminal.wait(60)
            said = (self.directory / f"terminal-{number}.txt").read_text()
            assert code == 0, said
            assert "Traceback" not in said


@pytest.fixture
def reader(lab: Lab, tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path, lab.environment)
    yield made
    for terminal in made.terminals:
        terminal.kill()
        terminal.wait()


@pytest.fixture
def job_api() -> Iterator[None]:
    """The controller. The lab's image has none; its hosts share this machine's loopback, on which one serves."""
    engine = LocalEngine(workers=1, cpus_per_worker=1, clock=SystemClock())
    server = ServerThread(make_app(engine, session_name="lab"), bind(ControllerConfig().port), SystemClock())
    yield
    engine.close()
    server.stop()


@pytest.mark.usefixtures("job_api")
def test_the_page_leads_to_a_cluster_and_back(lab: Lab, reader: Reader) -> None:
    """Each command succeeds, in the page's order, and in the end nothing is left."""
    (reader.directory / "cluster.yaml").write_text(filled_in(), encoding="utf-8")
    said = []
    for block in blocks():
        if block.in_background:
            reader.open_terminal(block.commands)
        else:
            if "iris down" in block.commands:
                assert {record.name for record in lab.cloud.list(Kind.INSTANCE)} == {"iris-controller-iris"}
                assert len(lab.cloud.list(Kind.NODE)) == 2
                reader.close_terminals()
            said.append(reader.run(block.commands))
    assert len(reader.terminals) == 2
    assert any("hello" in output for output in said)
    assert "Nothing of the cluster iris is left" in said[-1]
    assert lab.cloud.list(Kind.INSTANCE) == lab.cloud.list(Kind.NODE) == []
