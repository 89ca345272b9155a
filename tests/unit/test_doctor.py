"""The doctor's checks, with a scripted gcloud and the files of a pretended home."""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from iris_adapters.container import build_container
from iris_adapters.doctor import Finding, examine
from iris_core.config import ClusterConfig, GcpConfig, Mode, SshConfig, WorkerGroupConfig
from iris_core.errors import (
    ApiDisabledError,
    ConfigError,
    InventoryError,
    InventoryToolError,
    LogFileError,
    NotAuthenticatedError,
    ResourceNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKS = [
    *("gcloud", "account", "project and zone", "Compute API", "TPU API", "queued resources", "controller's image"),
    *("controller's machine type", "tpu: accelerator", "tpu: runtime"),
    *("SSH key", "ssh-agent", "known hosts", "log directory"),
]


class Gcloud:
    """Answers each command whose words begin like one of its own; everything else succeeds with an empty object."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {
            "version": {"Google Cloud SDK": "528.0.0"},
            "auth list": [{"account": "joe@example.com", "status": "ACTIVE"}],
        }

    def run(self, argv: Sequence[str], *, changes: bool = False, era: int | None = None) -> str:
        assert not changes
        assert era is None
        command = " ".join(argv)
        for words, answer in self.answers.items():
            if command.startswith(words):
                if isinstance(answer, InventoryError):
                    raise answer
                return answer if isinstance(answer, str) else json.dumps(answer)
        return "{}"

    def era(self) -> int:
        """Nothing is ever called off."""
        return 0

    def call_off(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""


class Rig(NamedTuple):
    gcloud: Gcloud
    home: Path

    def findings(self, log_dir: Path | None = None) -> dict[str, Finding]:
        config = ClusterConfig(
            mode=Mode.GCP,
            gcp=GcpConfig(
                project_id="p",
                zone="us-central1-a",
                ssh=SshConfig(
                    key_file=str(self.home / "key"), known_hosts_file=str(self.home / "iris" / "known_hosts")
                ),
            ),
            workers=(WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-16", runtime_version="v2"),),
        )
        container = build_container(config)
        with container.gcloud.override(self.gcloud):
            return {finding.check: finding for finding in examine(container, log_dir or self.home)}

    def problems(self, log_dir: Path | None = None) -> dict[str, int]:
        return {name: finding.exit_code for name, finding in self.findings(log_dir).items() if finding.exit_code}


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Rig(Gcloud(), tmp_path)


def test_all_is_well(rig: Rig) -> None:
    """Every check says what it found, in the order in which problems would be solved."""
    findings = rig.findings()
    assert list(findings) == CHECKS
    assert all(finding.ok and finding.text for finding in findings.values())
    assert findings["gcloud"].text == "version 528.0.0"
    assert findings["account"].text == "joe@example.com"


@pytest.mark.parametrize(
    "answer", [InventoryToolError("not installed"), {"Google Cloud SDK": "482.9.0"}, {}, "nonsense"]
)
def test_gcloud_that_is_missing_or_too_old(rig: Rig, answer: object) -> None:
    """What needs it is not checked; what does not, is."""
    rig.gcloud.answers["version"] = answer
    findings = rig.findings()
    assert rig.problems() == {"gcloud": InventoryToolError.exit_code}
    assert {name for name, one in findings.items() if "not checked" in one.text} == set(CHECKS[1:10])


def test_without_an_account(rig: Rig) -> None:
    """Told with what to do; unless credentials are switched off on purpose."""
    rig.gcloud.answers["auth list"] = [{"account": "old@example.com", "status": ""}]
    findings = rig.findings()
    assert findings["account"].exit_code == NotAuthenticatedError.exit_code
    assert "gcloud auth login" in findings["account"].text
    assert not findings["TPU API"].ok
    rig.gcloud.answers["config get auth/disable_credentials"] = "true"
    assert rig.problems() == {}


def test_each_problem_of_the_cloud_is_told_apart(rig: Rig) -> None:
    """One does not hide the other."""
    rig.gcloud.answers["compute tpus tpu-vm list"] = ApiDisabledError("TPU off", advice="switch it on")
    rig.gcloud.answers["compute tpus tpu-vm versions"] = ResourceNotFoundError("no such runtime")
    assert rig.problems() == {"TPU API": 8, "tpu: runtime": 9}
    assert "switch it on" in rig.findings()["TPU API"].text


def test_the_ssh_key(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is missing will be made, if it can be; one that others may read is refused by ssh."""
    assert "will be made" in rig.findings()["SSH key"].text
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert rig.problems() == {"SSH key": ConfigError.exit_code}
    key = rig.home / "key"
    key.write_text("not a key")
    key.chmod(0o644)
    assert "chmod 600" in rig.findings()["SSH key"].text
    key.chmod(0o600)
    assert "cannot be read" in rig.findings()["SSH key"].text


def test_the_agent(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its absence is no problem by itself; a stale socket is an absence."""
    address = str(rig.home / "agent")
    monkeypatch.setenv("SSH_AUTH_SOCK", address)
    assert rig.findings()["ssh-agent"].text.startswith("none")
    with closing(socket.socket(socket.AF_UNIX)) as agent:
        agent.bind(address)
        agent.listen()
        assert rig.findings()["ssh-agent"].text == "answers"


def test_directories_that_cannot_be_written(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where a directory should be; a place without access (root may write anywhere, so that is pretended)."""
    (rig.home / "iris").write_text("")
    (rig.home / "file").write_text("")
    assert rig.problems(rig.home / "file" / "logs") == {
        "known hosts": LogFileError.exit_code,
        "log directory": LogFileError.exit_code,
    }
    (rig.home / "iris").unlink()
    assert rig.problems(rig.home / "new" / "logs") == {}
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert set(rig.problems()) >= {"known hosts", "log directory"}


def test_a_log_directory_that_is_a_file(rig: Rig) -> None:
    """`connect` would refuse it."""
    (rig.home / "file").write_text("")
    finding = rig.findings(rig.home / "file")["log directory"]
    assert finding.exit_code == LogFileError.exit_code
    assert f"{rig.home / 'file'} is not a directory" in finding.text


def test_a_working_directory_that_is_gone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told, with what to do."""
    gone = rig.home / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "has been deleted: change to another" in rig.findings(Path("logs"))["log directory"].text


def test_a_disk_that_is_nearly_full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first line is landed."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**12, 10**12, 10**8))
    assert "0.1 GiB free" in rig.findings()["log directory"].text
    assert rig.problems() == {"log directory": LogFileError.exit_code}
