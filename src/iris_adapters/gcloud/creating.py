"""Making what a cluster consists of, through gcloud."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from iris_adapters.gcloud.create_argv import create_controller_argv, create_slice_argv, queue_slice_argv
from iris_adapters.gcloud.payloads import labels_of, queued_node
from iris_adapters.gcloud.ray_containers import controller_container, worker_container
from iris_adapters.gcloud.startup_script import startup_script
from iris_core.config import DEFAULT_CONTROLLER_CONTAINER, DEFAULT_WORKER_CONTAINER, QueuedConfig
from iris_core.errors import InventoryError, ResourceExistsError, ResourceNotFoundError
from iris_core.labels import creation_in, new_labels
from iris_core.model import VmPhase, controller_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_adapters.gcloud.reading import ClusterReader
    from iris_core.config import ClusterConfig, ContainerConfig, GcpConfig, WorkerGroupConfig
    from iris_core.ports.clock import Clock

_LOOK_AGAIN_SECONDS: Final = 10.0  # at a slice that is being created, which takes minutes
_ON_THE_WAY: Final = frozenset({VmPhase.PENDING, VmPhase.DELETING})  # Google takes back what it could not create
_MOST_NAMES_TRIED: Final = 5
_NAME_SUFFIXES: Final = ("", *(f"-{character}" for character in "123456789abcdefghijklmnopqrstuvwxyz"))

_Command: TypeAlias = "Callable[[str, Mapping[str, str], Mapping[str, Path]], Sequence[str]]"
"""What creates something of a name, with these labels, and metadata from these files."""


class ClusterMaker:
    """Creates the resources of one cluster, each with the labels that say whose it is, of which cluster, and until when.

    Args:
        config: of the cluster.
        gcp: its section of that name.
        reader: knows what there is.
        gcloud: runs the commands.
        clock: for names and expiries.
        owner: whose the resources are.
        ssh_public_key: the public key, one OpenSSH line, that new hosts are to accept; with OS Login they ask Google instead.
        ssh_user: for which user.
        new_creation: gives a label's value for each creation of a slice, another one every time.
        pause: waits for so many seconds on behalf of an era's call, and raises when that is called off or the inventory closed.
    """

    def __init__(
        self,
        config: ClusterConfig,
        gcp: GcpConfig,
        reader: ClusterReader,
        gcloud: GcloudRunner,
        clock: Clock,
        *,
        owner: Callable[[], str],
        ssh_public_key: Callable[[], str],
        ssh_user: str,
        new_creation: Callable[[], str],
        pause: Callable[[float, int], None],
    ) -> None:
        self._config = config
        self._gcp = gcp
        self._prefix = config.label_prefix
        self._reader = reader
        self._gcloud = gcloud
        self._clock = clock
        self._owner = owner
        self._ssh_public_key = ssh_public_key
        self._ssh_user = ssh_user
        self._new_creation = new_creation
        self._pause = pause
        self._names_lock = threading.Lock()
        self._names_used: set[str] = set()

    def create_controller(self, era: int, creation: str) -> None:
        """Create the controller's VM.

        Args:
            era: see `GcloudRunner.run`.
            creation: its label, see `creation_in`.

        Raises:
            ResourceExistsError: there is something of its name.
        """
        controller = self._config.controller
        name = controller_name(self._prefix)
        container = controller_container(controller.container, name=name, port=controller.port)
        with self._metadata_files(DEFAULT_CONTROLLER_CONTAINER, container, controller.metadata) as files:
            command = create_controller_argv(
                name,
                labels={**controller.labels, **self._labels(creation=creation)},
                gcp=self._gcp,
                controller=controller,
                time_to_live_hours=self._config.time_to_live_hours,
                metadata_files=files,
            )
            self._gcloud.run(command, changes=True, era=era)

    def create_slice(self, group: WorkerGroupConfig) -> str:
        """Create a slice of the group, wait until Google says that it is ready, and return its name."""
        era = self._gcloud.era()

        def command(name: str, labels: Mapping[str, str], files: Mapping[str, Path]) -> Sequence[str]:
            return create_slice_argv(name, labels=labels, gcp=self._gcp, group=group, metadata_files=files)

        name, is_found = self._under_new_name(group, "tpu-vm", command, era)
        if is_found:
            self._wait_for_slice(name, era)
        return name

    def queue_slice(self, group: WorkerGroupConfig) -> str:
        """Ask for a slice of the group, and return the name of the request."""
        era = self._gcloud.era()

        def command(name: str, labels: Mapping[str, str], files: Mapping[str, Path]) -> Sequence[str]:
            return queue_slice_argv(
                name,
                labels=labels,
                gcp=self._gcp,
                group=group,
                queued=group.queued or QueuedConfig(),
                metadata_files=files,
            )

        name, _ = self._under_new_name(group, "queued-resources", command, era)
        return name

    def _labels(self, group: str | None = None, creation: str | None = None) -> dict[str, str]:
        hours = self._config.time_to_live_hours
        expires_at = None if hours is None else self._clock.now() + timedelta(hours=hours)
        return new_labels(self._prefix, owner=self._owner(), expires_at=expires_at, group=group, creation=creation)

    def _under_new_name(self, group: WorkerGroupConfig, kind: str, command: _Command, era: int) -> tuple[str, bool]:
        """Create something of the group under a name that nothing of its kind has.

        Google may have accepted a command that failed: one that is repeated (see `retries`) then finds what it has made itself.

        Returns:
            the name; and whether it was found there, made by this very call, so that no command has seen its creation to the end.
        """
        container = worker_container(group.container)
        creation = self._new_creation()
        with self._metadata_files(DEFAULT_WORKER_CONTAINER, container, group.metadata) as files:
            tries = 0
            while True:
                name = self._new_name(group.name, era)
                labels = {**group.labels, **self._labels(group.name, creation)}
                try:
                    self._gcloud.run(command(name, labels, files), changes=True, era=era)
                except ResourceExistsError:
                    if self._is_from(creation, kind, name):
                        return name, True
                    tries += 1  # another process had the same idea in the same second
                    if tries >= _MOST_NAMES_TRIED:
                        raise
                else:
                    return name, False

    def _is_from(self, creation: str, kind: str, name: str) -> bool:
        """Whether the node or queued resource of a name was made by this creation."""
        try:
            there = self._reader.described(kind, name)
        except ResourceNotFoundError:
            return False
        except InventoryError as error:
            error.add_note(f"{name} is there, and may have been made by this very creation: `iris status` shows it.")
            raise
        labels = labels_of(queued_node(there) if kind == "queued-resources" else there, name)
        return creation_in(labels) == creation

    def _wait_for_slice(self, name: str, era: int) -> None:
        """Wait for a slice that is being created, as gcloud does for one that it creates."""
        seconds = self._gcp.gcloud_change_timeout_seconds
        deadline = self._clock.monotonic() + seconds
        while True:
            try:
                slice_ = self._reader.slice(self._reader.described("tpu-vm", name))
            except ResourceNotFoundError as error:
                raise InventoryError(
                    f"The slice {name} is gone: its creation has failed, or somebody has deleted it.",
                    advice="Try again; the Cloud console's list of operations says what it was.",
                ) from error
            if slice_.phase not in _ON_THE_WAY:
                return
            if self._clock.monotonic() >= deadline:
                raise InventoryError(
                    f"The slice {name} remained {slice_.state}; iris waited {seconds:g} s.",
                    advice="Look at it in the console.",
                )
            self._pause(_LOOK_AGAIN_SECONDS, era)

    def _new_name(self, group: str, era: int) -> str:
        """A name that this process has not used before; at most 63 characters, with prefix and group as long as they may be."""
        while True:
            stamp = self._clock.now().strftime("%Y%m%d%H%M%S")
            with self._names_lock:
                for suffix in _NAME_SUFFIXES:
                    name = f"{self._prefix}-{group}-{stamp}{suffix}"
                    if name not in self._names_used:
                        self._names_used.add(name)
                        return name
            self._pause(1.0, era)

    @contextmanager
    def _metadata_files(
        self, container_name: str, container: ContainerConfig, metadata: Mapping[str, str]
    ) -> Iterator[Mapping[str, Path]]:
        login = (
            {"enable-oslogin": "TRUE"}
            if self._gcp.ssh.oslogin
            else {"ssh-keys": f"{self._ssh_user}:{self._ssh_public_key().strip()}\n"}
        )
        values = {**metadata, **login, "startup-script": startup_script(container_name, container)}
        with ExitStack() as stack:
            try:
                # What is left behind is a small directory; what was created meanwhile would be forgotten.
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="iris-", ignore_cleanup_errors=True))
                files = {key: Path(made) / key for key in values}
                for key, value in values.items():
                    files[key].write_text(value, encoding="utf-8")
            except OSError as error:
                raise InventoryError(
                    f"The files that gcloud is to read cannot be written: {error}.",
                    advice="Make room in the directory for temporary files ($TMPDIR, or else /tmp), or name another one.",
                ) from error
            yield files
