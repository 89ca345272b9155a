"""Fabric's connection and what it looks things up in, in fewer steps: a connection reads them dozens of times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fabric import Config, Connection
from paramiko.config import SSHConfig
from paramiko.hostkeys import HostKeys as ParamikoHostKeys

if TYPE_CHECKING:
    from pathlib import Path

    from paramiko.pkey import PKey


def fabric_config(ssh_config_file: Path | None) -> Config:
    """What Fabric's connections are made of: `~/.ssh/config` and `/etc/ssh/ssh_config`, or `ssh_config_file` instead of both.

    Lazy: iris has a configuration of its own, so Fabric's (~/.fabric.yaml and others) is not read.
    """
    config = _WholeConfig(lazy=True, runtime_ssh_path=None if ssh_config_file is None else str(ssh_config_file))
    config.load_ssh_config()
    config._set(base_ssh_config=_QuickSshConfig(config.base_ssh_config))  # noqa: SLF001 - docs/decisions/0005
    return config


class _QuickSshConfig(SSHConfig):
    """What was read, looked up without finding out who and where this process is for values that have no place for that."""

    def __init__(self, read: SSHConfig) -> None:
        super().__init__()
        internals: Any = read
        self._config = internals._config  # noqa: SLF001 - docs/decisions/0005

    def _tokenize(self, config: Any, target_hostname: str, key: str, value: str) -> str:
        if "%" not in value and "~" not in value:
            return value
        expanded: str = super()._tokenize(config, target_hostname, key, value)  # type: ignore[misc] # not in the stubs
        return expanded


class _WholeConfig(Config):  # type: ignore[misc] # Fabric has no types
    """One that says that it is no part of another. Invoke finds that out by an error with all names that there are, for each look."""

    _keypath = ()

    @property
    def _root(self) -> _WholeConfig:
        return self


class HostConnection(Connection):  # type: ignore[misc] # Fabric has no types
    """One whose making leaves the configuration that all share alone.

    Fabric 3.2 declares every attribute of a connection but this one, so that setting it is taken for a change of the
    configuration, which is then merged anew: another thread that reads it at that moment finds it empty.
    """

    inline_ssh_env: bool | None = None

    # Invoke looks at all names that there are before it sets one, to see whether it is one of the configuration's: 0.25 ms of a connection.
    __setattr__ = object.__setattr__


class KnownKeys(ParamikoHostKeys):
    """Host keys that are looked up as in Paramiko, which makes a class anew for every look: 0.3 ms of a connection."""

    def lookup(self, hostname: str) -> Any:
        """The keys of a host by their type, None if it has none."""
        hosts: Any = self
        keys = [entry.key for entry in hosts._entries if hosts._hostname_matches(hostname, entry)]  # noqa: SLF001 - docs/decisions/0005
        return _KeysByType((key.get_name(), key) for key in keys) if keys else None


class _KeysByType(dict[str, "PKey"]):
    def keys(self) -> Any:
        """As a list, which Paramiko takes the first one of: the type that the host is asked for."""
        return list(self)
