"""The real `iris` where its standard streams are closed, full, or of an encoding that lacks characters; and Ctrl-C before it has begun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from iris_adapters.container import build_container
from iris_adapters.controller.client import JobClient
from iris_adapters.controller.wire import JobRequest
from iris_core.config import ClusterConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

IRIS = [sys.executable, "-c", "from iris_adapters.cli.entry import main; main()"]
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def iris(*arguments: str | bytes, redirect: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run iris by a shell, with its redirections."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", *IRIS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        **options,
    )


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A file that is right."""
    path = tmp_path / "cluster.yaml"
    path.touch()
    return str(path)


@pytest.fixture
def landed(tmp_path: Path) -> str:
    """A directory with a line."""
    (tmp_path / "controller-logs.txt").write_text("2026-11-23T19:20:00.123456789Z stdout F a line\n")
    (tmp_path / "controller-logs.events.jsonl").touch()
    return str(tmp_path)


@pytest.mark.parametrize("redirect", [">&-", "<&-", ">&- <&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["config", "check"]])
def test_closed_streams_are_as_if_they_led_nowhere(config: str, redirect: str, arguments: list[str]) -> None:
    """What was asked for is done; nothing else is printed."""
    if arguments[0] == "config":
        arguments = [*arguments, config]
    ended = iris(*arguments, redirect=redirect)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_landed_logs_can_be_printed_nowhere(landed: str) -> None:
    """These go out as bytes."""
    assert iris("logs", "cat", landed).stdout == "controller-logs: a line\n"
    ended = iris("logs", "cat", landed, redirect=">&-")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["config", "check"], ["logs", "cat"], ["connect"], ["smoke-test"]]
)
def test_an_output_that_is_full_is_an_error(tmp_path: Path, config: str, landed: str, arguments: list[str]) -> None:
    """Told in a line, also where the command has gone on to its end."""
    more = {"config": [config], "logs": [landed], "smoke-test": ["--log-dir", str(tmp_path / "run")]}
    ended = iris(*arguments, *more.get(arguments[0], []), redirect=">/dev/full")
    assert ended.returncode == 1
    assert "iris: cannot write to standard output: No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    if arguments[0] == "smoke-test":
        assert "the smoke test passed" in (tmp_path / "run" / "summary.md").read_text()


@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_nobody_who_hears_what_is_told_is_no_reason_to_end(redirect: str) -> None:
    """`connect` prints what was asked for and holds on until Ctrl-C, which is its regular end."""
    command = ["sh", "-c", f'exec "$@" {redirect}', "sh", *IRIS, "connect"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline(), process.stdout.readline()]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [line.partition("=")[0] for line in told] == ["export IRIS_URL", "export IRIS_TOKEN"]


@pytest.fixture
def cluster() -> Iterator[dict[str, str]]:
    """A local cluster with a job whose command is not ASCII: the environment in which `iris job` reaches it."""
    container = build_container(ClusterConfig())
    with container.cluster_manager().connect() as url:
        controller = container.inventory().find_controller()
        assert controller is not None
        assert controller.token is not None
        with JobClient(url, controller.token) as client:
            client.submit(JobRequest(entrypoint="true größe", job_id="mine"))
        yield {**os.environ, **POSIX, "IRIS_URL": url, "IRIS_TOKEN": controller.token}


def test_any_text_can_be_printed_in_any_encoding(cluster: dict[str, str]) -> None:
    """What the terminal's has no character for is escaped."""
    listed = iris("job", "list", env=cluster)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert r"true gr\xf6\xdfe" in listed.stdout
    shown = iris("job", "status", "mine", "-o", "json", env=cluster)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)["entrypoint"] == "true größe"


@pytest.mark.parametrize("imported", ["typer", "iris_adapters.cli.main", "iris_adapters.cli.interrupts"])
def test_ctrl_c_while_it_begins_is_quiet(tmp_path: Path, imported: str) -> None:
    """It exits as it does later, and says nothing: nothing has been begun."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {imported!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path('src').resolve()}"}
    ended = iris("--version", env=environment)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
