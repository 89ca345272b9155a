"""Any host of the project by its name, whosoever made it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.json_shape import parse_object
from iris_adapters.gcloud.payloads import host_from_instance, slice_from_node
from iris_core.errors import ConfigError, InventoryError, ResourceNotFoundError

if TYPE_CHECKING:
    from iris_adapters.gcloud.command import GcloudRunner
    from iris_core.config import Route
    from iris_core.model import Host

_NAME: Final = re.compile(r"[a-z][-a-z0-9]{0,70}")
_WORKER_NAME: Final = re.compile(r"(?P<slice>.+)-w(?P<index>\d+)")


def find_host(gcloud: GcloudRunner, vm_name: str, *, zone: str, is_tpu: bool, route: Route) -> Host | None:
    """The host of this name, or None if there is none.

    Args:
        gcloud: runs the command.
        vm_name: of an instance; of a host of a TPU slice (`{slice}-w{index}`), or of the slice, which means its first host.
        zone: where it is.
        is_tpu: whether it is a TPU slice's.
        route: which of its addresses to take.

    Raises:
        ConfigError: no VM can be called so.
        InventoryError: it is not known whether there is one, or it has no hosts yet.
    """
    if not _NAME.fullmatch(vm_name):
        raise ConfigError(f"{vm_name!r} cannot be the name of a VM", key_path="vm_name")
    if not is_tpu:
        described = _describe(gcloud, ("instances",), vm_name, zone, f"zones/{zone}/instances")
        return None if described is None else host_from_instance(parse_object(described, vm_name), route=route)
    match = _WORKER_NAME.fullmatch(vm_name)
    name, index = (match["slice"], int(match["index"])) if match else (vm_name, 0)
    described = _describe(gcloud, ("tpus", "tpu-vm"), name, zone, f"locations/{zone}/nodes")
    if described is None:
        return None
    found = slice_from_node(parse_object(described, name), label_prefix="", route=route)
    if not found.hosts:
        raise InventoryError(f"The TPU slice {name} has no hosts yet: it is {found.state}.", advice="Try again later.")
    return found.hosts[index] if index < len(found.hosts) else None


def _describe(gcloud: GcloudRunner, kind: tuple[str, ...], name: str, zone: str, parent: str) -> str | None:
    try:
        return gcloud.run(["compute", *kind, "describe", name, f"--zone={zone}"])
    except ResourceNotFoundError as error:
        # The zone or the project may be what was not found.
        if f"/{parent}/{name}'" in error.detail:
            return None
        raise
