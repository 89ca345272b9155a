from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeShell, RunScript, make_controller, make_slice
from iris_core import ray_join
from iris_core.errors import JobApiError
from iris_core.model import CommandResult, Hardware, VmPhase
from iris_core.ray_join import RayJoin, chips_per_host, join_message, read_token

if TYPE_CHECKING:
    from pathlib import Path

    from iris_core.model import Slice

TOKEN = "0123456789abcdef" * 4
CONTROLLER = replace(make_controller(), internal_address="10.0.0.2", token=TOKEN)
DONE = CommandResult(exit_status=0)


def v5e(*, hosts: int = 2, phase: VmPhase = VmPhase.READY) -> Slice:
    return make_slice("iris-tpu-1", hosts=hosts, phase=phase, hardware=Hardware(accelerator_type="v5litepod-8"))


class TestToken:
    def test_it_is_read_as_root(self) -> None:
        """By one command, whose text has no token in it."""
        shell = FakeShell(runs=[RunScript(answers=[CommandResult(exit_status=0, stdout=f"{TOKEN}\n".encode())])])
        assert read_token(shell, CONTROLLER.host, use_sudo=True) == TOKEN
        [command] = shell.commands
        assert command.argv[:4] == ("sudo", "-n", "sh", "-c")

    @pytest.mark.parametrize("stdout", [b"", b"two words that are no token\n", TOKEN.encode()])
    def test_a_failure_does_not_tell_it(self, stdout: bytes) -> None:
        """The message says what to do; the token is not in it, even if the command has printed it before it failed."""
        shell = FakeShell(runs=[RunScript(answers=[CommandResult(exit_status=1, stdout=stdout, stderr=b"sudo: no")])])
        with pytest.raises(JobApiError, match="sudo: no") as raised:
            read_token(shell, CONTROLLER.host, use_sudo=True)
        assert TOKEN not in f"{raised.value!r} {raised.value}"

    def test_the_script_makes_it_once(self, tmp_path: Path) -> None:
        """In a real shell: 256 bits at first, the same ever after, for root only."""
        script = ray_join._READ_TOKEN.replace(ray_join.HOST_DIRECTORY, str(tmp_path / "iris"))
        tokens = {subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout for _ in range(3)}
        [token] = tokens
        assert len(bytes.fromhex(token.decode())) == 32
        assert (tmp_path / "iris" / "token").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in (tmp_path / "iris").iterdir()] == ["token"]


class TestMessage:
    @pytest.mark.parametrize(
        ("hardware", "hosts", "chips"),
        [
            (Hardware(accelerator_type="v5litepod-16"), 4, 4),
            (Hardware(accelerator_type="v5litepod-1"), 1, 1),
            (Hardware(accelerator_type="v6e-8"), 1, 8),
            (Hardware(accelerator_type="v4-16"), 2, 4),
            (Hardware(accelerator_type="v5p-8"), 1, 4),
            (Hardware(type="V4", topology="2x2x2"), 2, 4),
            (Hardware(), 2, 0),
        ],
    )
    def test_chips(self, hardware: Hardware, hosts: int, chips: int) -> None:
        """The new types count chips, the older ones two cores a chip; unknown is left to Ray."""
        assert chips_per_host(replace(make_slice("s", hosts=hosts), hardware=hardware)) == chips

    def test_it_says_all_that_a_host_needs(self) -> None:
        """The head's internal address, whichever route iris itself takes."""
        slice_ = v5e()
        message = json.loads(join_message(CONTROLLER, slice_, slice_.hosts[1]))
        assert message == {
            "head": "10.0.0.2",
            "token": TOKEN,
            "name": "iris-tpu-1-w1",
            "resources": {"TPU": 4.0, "iris_slice:iris-tpu-1": 1.0, "iris_accelerator:v5litepod-8": 1.0},
            "labels": {"ray.io/tpu-slice-name": "iris-tpu-1"},
        }


class Rig:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shell = FakeShell(runs=[RunScript(answers=[DONE])])
        self.join = RayJoin(self.shell, self.clock, use_sudo=True)

    def told(self) -> list[str]:
        """The hosts that were told since this was asked last."""
        names = sorted(command.host.name for command in self.shell.commands)
        self.shell.commands.clear()
        return names


class TestTelling:
    def test_every_host_is_told_once(self) -> None:
        """The token is in the command's input, never in its arguments."""
        rig = Rig()
        assert rig.join.tell(CONTROLLER, [v5e()]) == {}
        for command in rig.shell.commands:
            assert TOKEN not in " ".join(command.argv)
            assert json.loads(command.stdin)["token"] == TOKEN
        assert rig.told() == ["iris-tpu-1-w0", "iris-tpu-1-w1"]
        rig.join.tell(CONTROLLER, [v5e()])
        assert rig.told() == []

    def test_who_has_no_address_yet_is_not_told(self) -> None:
        """Nor the hosts of a slice that is not ready."""
        rig = Rig()
        rig.join.tell(CONTROLLER, [v5e(phase=VmPhase.PENDING)])
        slice_ = v5e()
        rig.join.tell(CONTROLLER, [replace(slice_, hosts=tuple(replace(host, address="") for host in slice_.hosts))])
        assert rig.told() == []

    def test_another_controller_is_told_to_all(self) -> None:
        """It has another address, and another token."""
        rig = Rig()
        rig.join.tell(CONTROLLER, [v5e()])
        rig.told()
        rig.join.tell(replace(CONTROLLER, internal_address="10.0.0.9"), [v5e()])
        assert len(rig.told()) == 2

    def test_a_host_made_anew_is_told(self) -> None:
        """Under the same name, with another id; and after a while all are, for one may have lost its disk."""
        rig = Rig()
        slice_ = v5e()
        rig.join.tell(CONTROLLER, [slice_])
        rig.told()
        anew = replace(slice_, hosts=tuple(replace(host, instance_id="other") for host in slice_.hosts))
        rig.join.tell(CONTROLLER, [anew])
        assert len(rig.told()) == 2
        rig.clock.advance(299)
        rig.join.tell(CONTROLLER, [anew])
        assert rig.told() == []
        rig.clock.advance(1)
        rig.join.tell(CONTROLLER, [anew])
        assert len(rig.told()) == 2

    def test_a_host_that_cannot_be_told_does_not_hold_up_the_others(self) -> None:
        """It is named, with the reason, and tried again the next time."""
        rig = Rig()
        rig.shell.break_host("iris-tpu-1-w0")
        problems = rig.join.tell(CONTROLLER, [v5e()])
        assert list(problems) == ["iris-tpu-1-w0"]
        assert TOKEN not in str(problems)
        rig.told()
        rig.shell.heal_host("iris-tpu-1-w0")
        assert rig.join.tell(CONTROLLER, [v5e()]) == {}
        assert rig.told() == ["iris-tpu-1-w0"]

    def test_a_command_that_fails_is_a_problem(self) -> None:
        """With what the host said about it."""
        rig = Rig()
        rig.shell = FakeShell(runs=[RunScript(answers=[CommandResult(exit_status=1, stderr=b"disk full")])])
        rig.join = RayJoin(rig.shell, rig.clock, use_sudo=False)
        problems = rig.join.tell(CONTROLLER, [v5e(hosts=1)])
        assert "disk full" in problems["iris-tpu-1-w0"]
        assert rig.shell.commands[0].argv[0] == "sh"

    def test_the_script_writes_the_file_in_one_piece(self, tmp_path: Path) -> None:
        """In a real shell."""
        script = ray_join._WRITE_JOIN.replace(ray_join.HOST_DIRECTORY, str(tmp_path / "iris"))
        for text in (b"one", b"two"):
            subprocess.run(["sh", "-c", script], input=text, check=True)
            assert (tmp_path / "iris" / "join").read_bytes() == text
        assert (tmp_path / "iris" / "join").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in (tmp_path / "iris").iterdir()] == ["join"]
