"""The start-up script, run by bash with a pretended docker that remembers in files."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from iris_adapters.gcloud.startup_script import startup_script
from iris_core.config import ContainerConfig

if TYPE_CHECKING:
    from pathlib import Path

# Knows version, container inspect, start, rm and run; `down` and `failures` hold how many times it is to fail first.
DOCKER = r"""#!/bin/bash
cd "$HERE" || exit 9
fail_first() {
  left=$(cat "$1" 2>/dev/null || echo 0)
  if [ "$left" -gt 0 ]; then echo $((left - 1)) > "$1"; exit 1; fi
}
case "$1" in
  version) fail_first down ;;
  container) [ -e label ] && cat label ;;
  start) echo "start $2" >> done ;;
  rm) [ -e label ] && echo "rm $3" >> done; rm -f label ;;
  run)
    fail_first failures
    echo run >> done
    printf '%s\n' "$@" > run
    for word in "$@"; do case "$word" in --label=iris.spec=*) echo "${word#--label=iris.spec=}" > label ;; esac; done ;;
  *) exit 8 ;;
esac
"""

CONTAINER = ContainerConfig(image="example/worker:1", command=("--say", 'it\'s $HOME; `date` "now"\n!'))


class PretendedHost:
    """A host on which the script can be booted."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name, text in (("docker", DOCKER), ("sleep", "#!/bin/sh\n")):
            program = directory / name
            program.write_text(text, encoding="utf-8")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def boot(self, container: ContainerConfig) -> int:
        """Run the script as a boot does; returns its exit status."""
        script = startup_script("iris-worker", container)
        environment = {"PATH": f"{self.directory}{os.pathsep}{os.environ['PATH']}", "HERE": str(self.directory)}
        return subprocess.run(["bash"], input=script, text=True, env=environment, check=False).returncode

    def done(self) -> list[str]:
        """What docker was made to do."""
        return (self.directory / "done").read_text(encoding="utf-8").splitlines()

    def set(self, name: str, times: int) -> None:
        """Let docker fail so many times: `down` the engine, `failures` its runs."""
        (self.directory / name).write_text(str(times), encoding="utf-8")


@pytest.fixture
def host(tmp_path: Path) -> PretendedHost:
    return PretendedHost(tmp_path)


def test_the_first_boot_runs_the_container(host: PretendedHost) -> None:
    """Every argument arrives as it was configured, whatever the shell might make of it."""
    assert host.boot(CONTAINER) == 0
    assert host.done() == ["run"]
    arguments = (host.directory / "run").read_text(encoding="utf-8")
    assert arguments.endswith("\n".join(["example/worker:1", *(CONTAINER.command or ())]) + "\n")
    assert "--name=iris-worker\n" in arguments
    assert "--label=iris.managed=true\n" in arguments


def test_a_reboot_keeps_the_container(host: PretendedHost) -> None:
    """The container, its log and its state stay; it is only started if it is not running."""
    host.boot(CONTAINER)
    assert host.boot(CONTAINER) == 0
    assert host.done() == ["run", "start iris-worker"]


@pytest.mark.parametrize(
    "changed",
    [
        ContainerConfig(image="example/worker:2", command=CONTAINER.command),
        ContainerConfig(image="example/worker:1", command=("other",)),
        ContainerConfig(image="example/worker:1", command=CONTAINER.command, env={"A": "1"}),
    ],
)
def test_a_changed_configuration_replaces_the_container(host: PretendedHost, changed: ContainerConfig) -> None:
    """A new image, command or environment takes effect at the next boot."""
    host.boot(CONTAINER)
    assert host.boot(changed) == 0
    assert host.done() == ["run", "rm iris-worker", "run"]


def test_the_script_waits_for_the_engine_and_for_the_image(host: PretendedHost) -> None:
    """An engine that is still starting, and a pull that fails, are tried again."""
    host.set("down", 3)
    host.set("failures", 2)
    assert host.boot(CONTAINER) == 0
    assert host.done() == ["run"]


def test_the_script_gives_up_in_the_end(host: PretendedHost) -> None:
    """An image that does not exist is not pulled for ever."""
    host.set("failures", 10_000)
    assert host.boot(CONTAINER) == 1


def test_the_container_may_have_a_name_of_its_own() -> None:
    """The configuration's name comes before the default."""
    script = startup_script("iris-worker", ContainerConfig(name="mine", image="i"))
    assert "--name=mine" in script
    assert "iris-worker" not in script
