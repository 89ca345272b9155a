"""Whether this machine and this project can run the cluster of a configuration: everything that can be seen without changing anything.

What cannot be seen before it is tried: permissions to create, quota, capacity, firewall rules.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from iris_adapters.gcloud.errors import INSTALL_ADVICE
from iris_adapters.ssh.host_keys import KNOWN_HOSTS_FILE
from iris_core.errors import ConfigError, InventoryToolError, IrisError, LogFileError, NotAuthenticatedError
from iris_core.model import controller_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from iris_adapters.container import IrisContainer
    from iris_adapters.gcloud.command import GcloudRunner
    from iris_adapters.ssh import KeyPair
    from iris_core.config import ClusterConfig, GcpConfig, SshConfig

# 483 is the first whose `instances create` has --max-run-duration outside of alpha and beta (the Google Cloud CLI's release notes).
_LEAST_GCLOUD: Final = 483
_LEAST_FREE_BYTES: Final = 1024**3
_AT_ONCE: Final = 4

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        ok: whether it passed.
        text: what was found, or what is wrong and what to do about it.
        exit_code: of the problem's class; 0 where there is none.
    """

    check: str
    ok: bool
    text: str
    exit_code: int = 0


Check = tuple[str, "Callable[[], str]"]
"""A name, and what returns what it found, or raises what is wrong."""


def examine(container: IrisContainer, log_dir: Path) -> Iterator[Finding]:
    """Check one thing after the other, in the order in which problems should be solved.

    Args:
        container: of a cluster on Google Cloud.
        log_dir: where logs are to be landed.
    """
    settings = container.config()
    gcp = settings.gcp
    if gcp is None:
        raise ConfigError("is needed to use Google Cloud", key_path="gcp")
    gcloud = container.gcloud()
    tool = _find("gcloud", lambda: _version(gcloud))
    yield tool
    account = _find("account", lambda: _account(gcloud)) if tool.ok else _skipped("account", "gcloud")
    yield account
    cloud = _cloud_checks(settings, gcp, gcloud)
    if tool.ok and account.ok:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="iris-doctor") as threads:
            yield from threads.map(lambda check: _find(*check), cloud)
    else:
        yield from (_skipped(name, "gcloud and an account") for name, _ in cloud)
    for name, check in _local_checks(gcp.ssh, container.key_pair(), log_dir):
        yield _find(name, check)


def _find(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(check=name, ok=True, text=check())
    except IrisError as error:
        return Finding(check=name, ok=False, text=str(error), exit_code=error.exit_code)


def _skipped(name: str, needs: str) -> Finding:
    return Finding(check=name, ok=False, text=f"not checked: it needs {needs}")


def _cloud_checks(settings: ClusterConfig, gcp: GcpConfig, gcloud: GcloudRunner) -> list[Check]:
    zone = f"--zone={gcp.zone}"
    controller = settings.controller
    family = f"projects/{controller.image_project}/global/images/family/{controller.image_family}"

    def asks(what: str, *argv: str) -> Callable[[], str]:
        def ask() -> str:
            gcloud.run(argv)
            return what

        return ask

    name = controller_name(settings.label_prefix)
    tpus = ("compute", "tpus")
    checks: list[Check] = [
        ("project and zone", asks(f"{gcp.project_id}, {gcp.zone}", "compute", "zones", "describe", gcp.zone)),
        (
            "Compute API",
            asks("VMs can be listed", "compute", "instances", "list", f"--zones={gcp.zone}", f"--filter=name={name}"),
        ),
        ("TPU API", asks("slices can be listed", *tpus, "tpu-vm", "list", zone)),
        ("queued resources", asks("requests can be listed", *tpus, "queued-resources", "list", zone)),
        ("controller's image", asks(controller.image_family, "compute", "images", "describe-from-family", family)),
        (
            "controller's machine type",
            asks(controller.machine_type, "compute", "machine-types", "describe", controller.machine_type, zone),
        ),
    ]
    for group in settings.workers:
        if group.accelerator_type:
            kind = group.accelerator_type
            checks.append(
                (f"{group.name}: accelerator", asks(kind, *tpus, "accelerator-types", "describe", kind, zone))
            )
        version = group.runtime_version
        checks.append((f"{group.name}: runtime", asks(version, *tpus, "tpu-vm", "versions", "describe", version, zone)))
    return checks


def _version(gcloud: GcloudRunner) -> str:
    version = _json(gcloud, ["version"], dict).get("Google Cloud SDK", "")
    major = str(version).partition(".")[0]
    if not major.isdigit():
        raise InventoryToolError("gcloud does not say which version it is.", advice=INSTALL_ADVICE)
    if int(major) < _LEAST_GCLOUD:
        raise InventoryToolError(
            f"gcloud is version {version}, and iris needs {_LEAST_GCLOUD} or newer.",
            advice="Run `gcloud components update` (or your package manager's update of google-cloud-cli).",
        )
    return f"version {version}"


def _account(gcloud: GcloudRunner) -> str:
    for entry in _json(gcloud, ["auth", "list"], list):
        if isinstance(entry, dict) and entry.get("status") == "ACTIVE":
            return str(entry.get("account", ""))
    if str(_json(gcloud, ["config", "get", "auth/disable_credentials"], object)).lower() == "true":
        return "none: credentials are switched off (auth/disable_credentials)"
    raise NotAuthenticatedError(
        "gcloud has no active account.",
        advice="Run `gcloud auth login` (or `gcloud auth activate-service-account` where nobody can answer a browser).",
    )


def _json(gcloud: GcloudRunner, argv: Sequence[str], kind: type[_T]) -> _T:
    output = gcloud.run(argv)
    try:
        value = json.loads(output)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise InventoryToolError(
            f"gcloud's answer to `{' '.join(argv)}` is not what it should be: {output.strip()[:200]!r}.",
            advice="Run `gcloud info --run-diagnostics`.",
        )
    return value


def _local_checks(ssh: SshConfig, key_pair: KeyPair, log_dir: Path) -> list[Check]:
    return [
        ("SSH key", lambda: _ssh_key(key_pair)),
        ("ssh-agent", _ssh_agent),
        ("known hosts", lambda: _known_hosts(Path(ssh.known_hosts_file or KNOWN_HOSTS_FILE).expanduser())),
        ("log directory", lambda: _log_directory(log_dir)),
    ]


def _ssh_key(key_pair: KeyPair) -> str:
    path = key_pair.path
    if not path.exists():
        if shutil.which("ssh-keygen") is None:
            raise ConfigError(
                f"{path} does not exist, and ssh-keygen, which could make it, is not installed: install OpenSSH's client",
                key_path="gcp.ssh.key_file",
            )
        return f"{path} will be made"
    if path.stat().st_mode & 0o077:
        raise ConfigError(
            f"others may read the private key {path}, and ssh refuses such a key: chmod 600 {path}",
            key_path="gcp.ssh.key_file",
        )
    if key_pair.private_key() is not None:
        return str(path)
    if _agent_answers():
        return f"{path}, with a passphrase: ssh-agent must have it"
    raise ConfigError(
        f"the private key {path} has a passphrase, and there is no ssh-agent: run `eval $(ssh-agent) && ssh-add {path}`",
        key_path="gcp.ssh.key_file",
    )


def _ssh_agent() -> str:
    return "answers" if _agent_answers() else "none; it is not needed for a key without passphrase"


def _agent_answers() -> bool:
    address = os.environ.get("SSH_AUTH_SOCK")
    if not address:
        return False
    with closing(socket.socket(socket.AF_UNIX)) as agent:
        agent.settimeout(1.0)
        try:
            agent.connect(address)
        except OSError:
            return False
    return True


def _known_hosts(path: Path) -> str:
    _check_writable(path)
    return f"{path}" + ("" if path.exists() else " will be made")


def _log_directory(path: Path) -> str:
    existing = _check_writable(path)
    if not existing.is_dir():
        raise LogFileError(f"{path} is not a directory: choose another (--log-dir).", path=path)
    free = shutil.disk_usage(existing).free
    text = f"{path}, {free / 1024**3:.1f} GiB free"
    if free < _LEAST_FREE_BYTES:
        raise LogFileError(
            f"{text}: landing logs pauses when the disk is full. Make room, or choose another directory (--log-dir).",
            path=path,
        )
    return text


def _check_writable(path: Path) -> Path:
    """Return the file or directory itself or, where it is to be made, what of its directories exists."""
    try:
        wanted_path = existing = path.absolute()
    except FileNotFoundError as error:
        raise LogFileError(
            f"{path} is below the working directory, which has been deleted: change to another, or name an absolute path.",
            path=path,
        ) from error
    while not os.path.lexists(existing):
        existing = existing.parent
    wanted = os.W_OK | (os.X_OK if existing.is_dir() else 0)
    if not os.access(existing, wanted) or (existing != wanted_path and not existing.is_dir()):
        raise LogFileError(f"{path} cannot be written ({existing}): give access to it, or choose another.", path=path)
    return existing
