"""Every error that iris raises on purpose.

    IrisError                          exit code
    ├── ConfigError                    2   the configuration is wrong; nothing was touched
    ├── ClusterError                   3   the cluster is not what it should be
    │   ├── ControllerNotFoundError
    │   ├── ControllerNotReadyError
    │   ├── NotYoursError
    │   └── CleanupIncompleteError
    ├── InventoryError                 4   the cloud (through gcloud) refused or failed
    │   ├── InventoryToolError         5   gcloud is missing, too old, or broke
    │   ├── NotAuthenticatedError      6
    │   ├── PermissionDeniedError      7
    │   ├── ApiDisabledError           8
    │   ├── ResourceNotFoundError      9
    │   ├── ResourceExistsError        10
    │   │   └── ClusterMisfitError         (what is there is not what was configured; nothing was made)
    │   ├── OutOfCapacityError         11  (stockout)
    │   ├── QuotaExceededError         12
    │   ├── RateLimitedError           13
    │   ├── InvalidRequestError        14
    │   └── CloudUnavailableError      15
    ├── RemoteShellError               20  a host could not be reached, or what ran there failed
    │   ├── HostUnreachableError
    │   ├── AuthenticationFailedError
    │   ├── HostKeyError
    │   ├── ConnectionLostError
    │   ├── CommandTimeoutError
    │   └── LocalPortInUseError        21
    ├── LogError                       30  a landed log could not be kept
    │   ├── LogFileLockedError         31
    │   ├── LogFileError               32
    │   └── EngineError                33  the Docker engine of a host refused or cannot be reached
    └── JobApiError                    40  the controller's job API refused or failed

Errors carry what they are about as attributes (host, argv, seconds, path …), so that a caller need not parse the message.
The message says what happened, to which host or file, and what to do next.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class IrisError(Exception):
    """The root of the tree: catch it to catch everything that iris raises on purpose.

    Attributes:
        exit_code: what the `iris` command exits with when this error ends it.
    """

    exit_code: ClassVar[int] = 1


class ConfigError(IrisError, ValueError):
    """The configuration is wrong. It is a ValueError too, as from any constructor that is given a bad value.

    Attributes:
        key_path: dotted path of the key (`workers.0.count`), empty where the file as a whole is wrong.
        problem: what is wrong with it.
        file: the file it was read from, or None for a configuration built in Python.
        line: 1-based line in that file, or None where it is not known.
    """

    exit_code = 2

    def __init__(self, problem: str, *, key_path: str = "", file: Path | None = None, line: int | None = None) -> None:
        self.problem = problem
        self.key_path = key_path
        self.file = file
        self.line = line
        where = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        key = f"{key_path}: " if key_path else ""
        super().__init__(f"{where}{key}{problem}")


class ClusterError(IrisError):
    """The cluster is not what it should be."""

    exit_code = 3


class ControllerNotFoundError(ClusterError):
    """There is no controller for this label prefix."""


class ControllerNotReadyError(ClusterError):
    """The controller did not answer as a controller within its time.

    Attributes:
        seconds: how long iris waited.
        problem: the last thing that was wrong.
    """

    def __init__(self, message: str, *, seconds: float, problem: str) -> None:
        self.seconds = seconds
        self.problem = problem
        super().__init__(message)


class NotYoursError(ClusterError):
    """Something of the cluster belongs to somebody else, and was left alone.

    Attributes:
        resources: names of what it is about.
    """

    def __init__(self, message: str, *, resources: Sequence[str]) -> None:
        self.resources = tuple(resources)
        super().__init__(message)


class CleanupIncompleteError(ClusterError):
    """Something that should be gone still is there, and may cost money.

    Attributes:
        left: names of the resources that are left.
        deleted: names of those that were deleted.
    """

    def __init__(self, message: str, *, left: Sequence[str], deleted: Sequence[str] = ()) -> None:
        self.left = tuple(left)
        self.deleted = tuple(deleted)
        super().__init__(message)


class InventoryError(IrisError):
    """The cloud refused or failed.

    Attributes:
        argv: the command that failed, empty where none was run.
        exit_status: its exit status, or None where it did not run to its end.
        detail: what it printed on stderr, trimmed.
        advice: what the user can do next, empty where there is nothing particular.
        retryable: whether the same request may succeed later without anybody changing anything.
    """

    exit_code = 4
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        problem: str,
        *,
        argv: Sequence[str] = (),
        exit_status: int | None = None,
        detail: str = "",
        advice: str = "",
    ) -> None:
        self.problem = problem
        self.argv = tuple(argv)
        self.exit_status = exit_status
        self.detail = detail
        self.advice = advice
        parts = [problem]
        if detail and detail not in problem:
            parts.append(f"It said: {detail}")
        if advice:
            parts.append(advice)
        if argv:
            parts.append(f"Command: {shlex.join(self.argv)}")
        super().__init__("\n".join(parts))


class InventoryToolError(InventoryError):
    """gcloud is missing, too old, or broke without an answer."""

    exit_code = 5


class NotAuthenticatedError(InventoryError):
    """No account is logged in, or its credentials have expired."""

    exit_code = 6


class PermissionDeniedError(InventoryError):
    """The account may not do this."""

    exit_code = 7


class ApiDisabledError(InventoryError):
    """The Compute or TPU API is not enabled in the project."""

    exit_code = 8


class ResourceNotFoundError(InventoryError):
    """What was named does not exist (a VM, a zone, an image, a network …)."""

    exit_code = 9


class ResourceExistsError(InventoryError):
    """Something exists already under the name."""

    exit_code = 10


class ClusterMisfitError(ResourceExistsError):
    """What is there under the cluster's name is somebody else's, or is not what the configuration says. Nothing was made."""


class OutOfCapacityError(InventoryError):
    """The zone has no capacity for this type at the moment (a stockout)."""

    exit_code = 11
    retryable = True


class QuotaExceededError(InventoryError):
    """The project's quota does not allow it."""

    exit_code = 12


class RateLimitedError(InventoryError):
    """Too many requests in a short time."""

    exit_code = 13
    retryable = True


class InvalidRequestError(InventoryError):
    """The cloud does not accept the request's values."""

    exit_code = 14


class CloudUnavailableError(InventoryError):
    """Google Cloud could not be reached, or failed by itself: whether it did what was asked is not known."""

    exit_code = 15
    retryable = True


class RemoteShellError(IrisError):
    """A host could not be reached, or what was run there failed.

    Attributes:
        host: the name of the host.
    """

    exit_code = 20

    def __init__(self, message: str, *, host: str) -> None:
        self.host = host
        super().__init__(message)


class HostUnreachableError(RemoteShellError):
    """No connection to the host could be made."""


class AuthenticationFailedError(RemoteShellError):
    """The host answered and did not let us in: it refused our keys, or hung up when it was shown one."""


class HostKeyError(RemoteShellError):
    """The host's key is unknown, or is not the one it must be. Nothing was sent to it."""


class ConnectionLostError(RemoteShellError):
    """The connection ended or its peer fell silent while it was in use."""


class CommandTimeoutError(RemoteShellError):
    """A command did not end within its time.

    Attributes:
        argv: the command.
        seconds: the time it had.
    """

    def __init__(self, message: str, *, host: str, argv: Sequence[str], seconds: float) -> None:
        self.argv = tuple(argv)
        self.seconds = seconds
        super().__init__(message, host=host)


class LocalPortInUseError(RemoteShellError):
    """The local port that was asked for is taken.

    Attributes:
        port: the port.
    """

    exit_code = 21

    def __init__(self, message: str, *, host: str, port: int) -> None:
        self.port = port
        super().__init__(message, host=host)


class LogError(IrisError):
    """A landed log could not be kept."""

    exit_code = 30


class LogFileLockedError(LogError):
    """Another process captures into the same file.

    Attributes:
        path: the file.
    """

    exit_code = 31

    def __init__(self, message: str, *, path: Path) -> None:
        self.path = path
        super().__init__(message)


class LogFileError(LogError):
    """A landed file, or its directory, cannot be written or is not what iris wrote.

    Attributes:
        path: the file or directory.
    """

    exit_code = 32

    def __init__(self, message: str, *, path: Path) -> None:
        self.path = path
        super().__init__(message)


class EngineError(LogError):
    """The Docker engine of a host cannot be reached, or answered what it never should.

    Attributes:
        status: the HTTP status of its answer, or None where there was none.
    """

    exit_code = 33

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class JobApiError(IrisError):
    """The controller's job API refused a request or could not be reached.

    Attributes:
        status: the HTTP status of its answer, or None where there was none.
    """

    exit_code = 40

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)
