"""What a command leaves behind when it does not end as it should: said, because it costs money."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from iris_adapters.cli.common import note
from iris_adapters.cli.durations import span_text
from iris_adapters.cli.interrupts import interrupts
from iris_core.errors import IrisError, ResourceExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_adapters.container import IrisContainer


@contextmanager
def telling_what_is_left(
    container: IrisContainer, config: Path | None, prefix: str | None, *, after_errors: bool
) -> Iterator[None]:
    """After an interrupt (and after an error, if so asked) in this context, say what there is of the cluster, and how to delete it.

    Args:
        container: of the cluster.
        config: its file, as the user gave it. None: there is none, and nothing outlives this process.
        prefix: as the user gave it.
        after_errors: whether an error, too, leaves things that the user may not expect.
    """
    if config is None or container.config().is_local:
        yield
        return
    options = ["-c", str(config), *(["--prefix", prefix] if prefix else [])]
    down = f"iris down {shlex.join(options)}"
    cluster = container.config().label_prefix
    at_stake = (
        f"What there is of the cluster {cluster} still runs and costs money: `{down}` finds and deletes all of it."
    )
    with interrupts.at_stake(at_stake):
        try:
            yield
        except (IrisError, KeyboardInterrupt, SystemExit) as error:
            nothing_made = isinstance(error, ResourceExistsError)  # what is there is not this command's
            if not isinstance(error, IrisError) or (after_errors and not nothing_made):
                _tell(container, cluster, down)
            raise


def _tell(container: IrisContainer, cluster: str, down: str) -> None:
    inventory = container.inventory()
    inventory.call_off()
    try:
        resources = inventory.list_resources()
    except IrisError:
        note(f"What still runs of the cluster {cluster} is not known; `{down}` finds and deletes it.")
        return
    if not resources:
        note(f"Nothing of the cluster {cluster} is there. Should something appear yet, `{down}` deletes it.")
        return
    note(f"This of the cluster {cluster} still runs, and costs money:")
    now = container.clock().now()
    for resource in resources:
        age = None if resource.created_at is None else max((now - resource.created_at).total_seconds(), 0.0)
        told = ", ".join(filter(None, [resource.state or str(resource.phase), resource.owner, span_text(age)]))
        note(f"  {resource.name} ({told})")
    note(f"`{down}` deletes it.")
