"""What a command leaves behind when it does not end as it should: said, because it costs money."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iris_adapters.cli.common import note
from iris_adapters.cli.durations import span_text
from iris_adapters.cli.interrupts import interrupts
from iris_adapters.smoke_test.interruption import still_runs
from iris_core.errors import ClusterMisfitError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_adapters.container import IrisContainer


@contextmanager
def telling_what_is_left(
    container: IrisContainer, config: Path | None, prefix: str | None, *, after_errors: bool, all_zones: bool = False
) -> Iterator[None]:
    """After an interrupt (and after an error, if so asked) in this context, say what there is of the cluster, and how to delete it.

    An error may be any: a bug, or a full disk, leaves as much behind as one that was foreseen.

    Args:
        container: of the cluster.
        config: its file, as the user gave it. None: there is none, and nothing outlives this process.
        prefix: as the user gave it.
        after_errors: whether an error, too, leaves things that the user may not expect.
        all_zones: whether the command is about every zone of the project, not the cluster's alone.
    """
    if config is None or container.config().is_local:
        yield
        return
    command = ("cleanup", "--all-zones", "--no-dry-run") if all_zones else ("down",)
    down = command_line(*command, config=config, prefix=prefix)
    cluster = container.config().label_prefix
    with interrupts.at_stake(still_runs(cluster, down)):
        try:
            yield
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            nothing_made = isinstance(error, ClusterMisfitError)  # what is there is not this command's
            if not isinstance(error, Exception) or (after_errors and not nothing_made):
                _tell(container, cluster, down, all_zones=all_zones)
            raise


def command_line(command: str, *options: str, config: Path, prefix: str | None) -> str:
    """What to type for another command about the same cluster.

    Args:
        command: `down`, say.
        options: of that command, beside those that name the cluster.
        config: the cluster's file, as the user gave it.
        prefix: as the user gave it.
    """
    return shlex.join(["iris", command, "-c", str(config), *(["--prefix", prefix] if prefix else []), *options])


def _tell(container: IrisContainer, cluster: str, down: str, *, all_zones: bool) -> None:
    inventory = container.inventory()
    inventory.call_off()
    try:
        resources = inventory.list_resources(all_zones=all_zones)
    except Exception:  # noqa: BLE001 - whatever it is, how to delete it must be said, and the error that led here stays the one
        note(f"What still runs of the cluster {cluster} is not known; `{down}` finds and deletes it.")
        return
    if not resources:
        where = "any zone" if all_zones else container.config().zone
        note(f"Nothing of the cluster {cluster} is there in {where}. Should something appear yet, `{down}` deletes it.")
        return
    note(f"This of the cluster {cluster} still runs, and costs money:")
    now = container.clock().now()
    for resource in resources:
        age = None if resource.created_at is None else max((now - resource.created_at).total_seconds(), 0.0)
        zone = resource.zone if all_zones else ""
        told = ", ".join(filter(None, [resource.state or str(resource.phase), zone, resource.owner, span_text(age)]))
        note(f"  {resource.name} ({told})")
    note(f"`{down}` deletes it.")
