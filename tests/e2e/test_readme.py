"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from iris_adapters.config_file import load_config

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    """The README's blocks of code in a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run(program: str, directory: Path) -> str:
    """Run a Python program by itself in a directory, and return what it printed."""
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True, timeout=60).stdout


def test_the_first_program_runs_a_cluster(tmp_path: Path) -> None:
    """With an empty cluster.yaml, a local cluster's URL is printed."""
    (tmp_path / "cluster.yaml").touch()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\n", run(blocks("python")[0], tmp_path))


def test_the_program_with_fakes_lands_their_lines(tmp_path: Path) -> None:
    """Both hosts' files have the line that the fake engine holds."""
    printed = run(blocks("python")[1], tmp_path).splitlines()
    assert [line.split()[0] for line in printed] == ["iris-train-1-w0.txt", "iris-train-1-w1.txt"]
    assert all("step 1: loss 0.5" in line for line in printed)


def test_the_configuration_is_one(tmp_path: Path) -> None:
    """It is read without an error, and is of a cluster on Google Cloud."""
    file = tmp_path / "cluster.yaml"
    file.write_text(blocks("yaml")[0], encoding="utf-8")
    assert not load_config(file).is_local


def test_its_commands_are_found() -> None:
    """What installs iris in a virtual environment is followed by what puts that on the PATH, before the first `iris …`."""
    installs, activates, *others = blocks("sh")
    assert "-m venv .venv" in installs
    assert activates == ". .venv/bin/activate\n"
    assert re.search("^iris ", "".join(others), re.MULTILINE)


def test_its_commands_exist() -> None:
    """`iris COMMAND --help` answers for each command that is shown."""
    shown = sorted(set(re.findall(r"^iris ((?:logs |config )?[a-z-]+)", "\n".join(blocks("sh")), re.MULTILINE)))
    assert len(shown) > 5
    for command in shown:
        subprocess.run(
            [Path(sys.executable).with_name("iris"), *command.split(), "--help"], check=True, capture_output=True
        )
