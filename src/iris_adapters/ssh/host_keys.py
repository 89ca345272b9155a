"""Which host keys are believed: those that Google's API reports for an instance, kept in a known_hosts file of iris's own."""

from __future__ import annotations

import binascii
import fcntl
import os
import threading
from base64 import b64decode
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from paramiko.pkey import PKey, UnknownKeyType
from paramiko.ssh_exception import SSHException

from iris_adapters.ssh.errors import described
from iris_core.config import HostKeyPolicy
from iris_core.errors import HostKeyError, HostUnreachableError, InventoryError
from iris_core.model import HostRole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from iris_core.model import Host

KNOWN_HOSTS_FILE: Final = "~/.config/iris/known_hosts"
_COLUMNS: Final = 3
_LOCK_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC


class HostKey(NamedTuple):
    """A public key as known_hosts has it: `ssh-ed25519`, and its base64."""

    kind: str
    base64: str


def alias_of(host: Host) -> str:
    """The name of this life of a machine in the file: a VM that is re-created under its name and address is another one.

    `compute.<id>` as gcloud has it in its own file; `tpu.<node id>-<worker>`. Without an id, the name must do.
    """
    if not host.instance_id:
        return f"name.{host.name}"
    if host.role is HostRole.CONTROLLER:
        return f"compute.{host.instance_id}"
    return f"tpu.{host.instance_id}-{host.worker_index or 0}"


class KnownHosts:
    """The file: one line `alias type base64` per key, as OpenSSH reads it. Any number of threads and processes may use it.

    Args:
        path: the file; it and its directory are made, for their owner only.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.fspath(path)
        self._lock_file = f"{self._file}.lock"
        self._lock = threading.Lock()
        self._read_as: tuple[int, int, int] | None = None
        self._keys: dict[str, tuple[HostKey, ...]] = {}

    def of(self, alias: str) -> tuple[HostKey, ...]:
        """The keys of `alias`, empty if there is none.

        Raises:
            OSError: the file cannot be read.
        """
        with self._lock:
            self._read()
            return self._keys.get(alias, ())

    def lines_of(self, alias: str) -> list[int]:
        """On which lines (from 1) the keys of `alias` are, for an error message.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []
        return [number for number, line in enumerate(lines, 1) if alias in line.partition(" ")[0].split(",")]

    def add_first(self, alias: str, keys: Iterable[HostKey]) -> tuple[HostKey, ...]:
        """Keep `keys` for `alias` unless it has some already.

        Returns:
            What `alias` has now: `keys`, or what another thread or process kept before.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock, self._alone():
            self._read()
            if alias not in self._keys and (added := tuple(keys)):
                self._append(alias, added)
            return self._keys.get(alias, ())

    def _read(self) -> None:
        try:
            status = os.stat(self._file)  # noqa: PTH116 - for each connection, and a path's is thrice as dear
        except FileNotFoundError:
            self._read_as, self._keys = None, {}
            return
        mark = _mark(status)
        if mark == self._read_as:
            return
        keys: dict[str, tuple[HostKey, ...]] = {}
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            columns = line.split()
            if len(columns) >= _COLUMNS and not line.startswith(("#", "@")):
                for alias in columns[0].split(","):
                    keys[alias] = (*keys.get(alias, ()), HostKey(columns[1], columns[2]))
        self._read_as, self._keys = mark, keys

    def _append(self, alias: str, keys: tuple[HostKey, ...]) -> None:
        """Not forced to the disk: a thousand hosts would wait for it, and what a power cut takes is learned again."""
        lines = "".join(f"{alias} {kind} {base64}\n" for kind, base64 in keys)
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            separator = "" if not size or os.pread(fd, 1, size - 1) == b"\n" else "\n"
            left = f"{separator}{lines}".encode()
            while left:
                left = left[os.write(fd, left) :]
            self._keys[alias] = keys
            self._read_as = _mark(os.fstat(fd))
        finally:
            os.close(fd)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Among all processes. The lock is on a file of its own, because ssh-keygen replaces the other one."""
        try:
            fd = os.open(self._lock_file, _LOCK_FILE, 0o600)
        except FileNotFoundError:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._lock_file, _LOCK_FILE, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


class HostKeys:
    """Decides whom to believe.

    Args:
        known: what is known already.
        policy: whether a key that the API does not report may be believed on first use.
        reported: asks the API for the keys of a host, each `TYPE BASE64` and perhaps a comment; empty: it reports none.
    """

    def __init__(self, known: KnownHosts, policy: HostKeyPolicy, reported: Callable[[Host], Sequence[str]]) -> None:
        self._known = known
        self._policy = policy
        self._reported = reported

    def of(self, host: Host) -> list[PKey]:
        """The keys that `host` may have. Empty only where the first one seen is to be believed.

        Raises:
            HostKeyError: none is known, and the policy wants one; or what is kept cannot be read.
            HostUnreachableError: the API could not be asked.
        """
        alias = alias_of(host)
        with self._file_errors(host):
            known = self._known.of(alias)
        if not known and (reported := self._ask(host)):
            with self._file_errors(host):
                known = self._known.add_first(alias, reported)
        if not known and self._policy is HostKeyPolicy.REPORTED:
            raise HostKeyError(
                f"{described(host)}: Google reports no SSH host key for it, so it cannot be told from an impostor. It may not have "
                "reported it yet; if this stays, enable guest attributes (metadata enable-guest-attributes=TRUE), add a line for "
                f"{alias} to {self._known.path}, or set gcp.ssh.host_keys to first-use",
                host=host.name,
            )
        keys = [parsed for key in known if (parsed := _parsed(key)) is not None]
        if known and not keys:
            raise HostKeyError(
                f"{described(host)}: no key of {alias} in {self._known.path} can be used: correct or remove its lines",
                host=host.name,
            )
        return keys

    def believe_first(self, host: Host, key: PKey) -> None:
        """Keep `key`, the first that was seen of `host`.

        Raises:
            HostKeyError: another process saw another one first; or it cannot be kept.
        """
        mine = HostKey(key.get_name(), key.get_base64())
        with self._file_errors(host):
            known = self._known.add_first(alias_of(host), [mine])
        if mine not in known:
            raise self.changed(host, key)

    def changed(self, host: Host, key: PKey) -> HostKeyError:
        """The error for a host that shows another key than the known one."""
        alias = alias_of(host)
        with self._file_errors(host):
            lines = self._known.lines_of(alias)
        where = ", ".join(f"{self._known.path}:{line}" for line in lines) or str(self._known.path)
        return HostKeyError(
            f"{described(host)} shows the host key {key.get_name()} {key.fingerprint}, which is not the one known for {alias} ({where}). "
            "Nothing was sent to it: someone may be between you and it, or its system was installed anew. If you know that it "
            f"is right, run: ssh-keygen -R {alias} -f {self._known.path}",
            host=host.name,
        )

    def _ask(self, host: Host) -> list[HostKey]:
        try:
            lines = self._reported(host)
        except InventoryError as error:
            raise HostUnreachableError(
                f"{described(host)}: its host keys could not be asked for: {error}", host=host.name
            ) from error
        parts = [line.split() for line in lines]
        return [HostKey(part[0], part[1]) for part in parts if len(part) >= _COLUMNS - 1]

    @contextmanager
    def _file_errors(self, host: Host) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HostKeyError(
                f"{described(host)}: its key cannot be checked, because {self._known.path} cannot be used: {error}",
                host=host.name,
            ) from error


def _parsed(key: HostKey) -> PKey | None:
    try:
        parsed: PKey = PKey.from_type_string(key.kind, b64decode(key.base64, validate=True))
    except (UnknownKeyType, SSHException, binascii.Error, ValueError):
        return None
    return parsed


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size
