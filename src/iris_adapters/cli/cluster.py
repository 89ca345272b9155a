"""`iris up`, `down` and `connect`."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from iris_adapters.cli.cleanup import BlackBoxDirOption, BlackBoxOption, OwnerOption, carry_out, make_plan
from iris_adapters.cli.common import (
    ConfigOption,
    NeededConfigOption,
    PrefixOption,
    note,
    open_cluster,
    read_config,
    read_gcp_config,
    say,
    show_progress,
    wait_for_ctrl_c,
)
from iris_adapters.cli.interrupts import BEFORE_DELETION_SECONDS, MOST_DRAIN_SECONDS
from iris_adapters.cli.leaving import command_line, telling_what_is_left

if TYPE_CHECKING:
    from iris_adapters.container import IrisContainer


def up(config: NeededConfigOption, prefix: PrefixOption = None) -> None:
    """Create the cluster on Google Cloud, or what is missing of it, and leave it running."""
    settings = read_gcp_config(config, prefix)
    from iris_adapters.cli.progress import progress_shown

    with open_cluster(settings) as container, telling_what_is_left(container, config, prefix, after_errors=True):
        manager = container.cluster_manager()
        with progress_shown() as listener:
            show_progress()
            url = manager.start(listener)
        say(url)
    note("The cluster costs money until `iris down` deletes it. `iris connect` gives a URL that works from here.")


def down(
    config: NeededConfigOption,
    prefix: PrefixOption = None,
    *,
    owner: OwnerOption = "me",
    black_box: BlackBoxOption = True,
    log_dir: BlackBoxDirOption = None,
) -> None:
    """Delete the cluster: the controller, every worker slice and every request for one that bears its label prefix."""
    from iris_core.errors import NotYoursError

    settings = read_gcp_config(config, prefix)
    show_progress()
    with open_cluster(settings) as container:
        with telling_what_is_left(container, config, prefix, after_errors=False):
            plan = make_plan(container, owner)
            carry_out(container, plan, log_dir, black_box=black_box)
        if plan.kept:
            left = "\n".join(f"{kept.resource.name}: {kept.why}" for kept in plan.kept)
            raise NotYoursError(
                f"This of the cluster {settings.label_prefix} is not yours, and was left alone; `--owner any` deletes it too:\n{left}",
                resources=[kept.resource.name for kept in plan.kept],
            )
        note(f"Nothing of the cluster {settings.label_prefix} is left in {settings.zone}.")
        _tell_other_zones(container, config, prefix, owner)


def _tell_other_zones(container: IrisContainer, config: Path, prefix: str | None, owner: str) -> None:
    """Name what bears the cluster's name in other zones: a configuration whose zone was changed leaves the old cluster running."""
    from iris_core.errors import InventoryError

    command = command_line("cleanup", "--all-zones", config=config, prefix=prefix)
    try:
        plan = make_plan(container, owner, all_zones=True)
    except InventoryError:
        note(f"What there is in other zones is not known; `{command}` looks there.")
        return
    elsewhere = [f"{one.name} ({one.zone})" for one in plan.resources if one.zone != container.config().zone]
    if elsewhere:
        note(f"In other zones there is, and costs money: {', '.join(elsewhere)}. See `{command}`.")


def connect(
    config: ConfigOption = None,
    prefix: PrefixOption = None,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Land the logs of controller and workers here, as they come.")
    ] = None,
) -> None:
    """Hold a way to the controller open until Ctrl-C. A cluster that is not there is started, and deleted at the end."""
    settings = read_config(config, prefix)
    drain_seconds = min(settings.logs.drain_seconds, MOST_DRAIN_SECONDS)  # what ends this is Ctrl-C
    settings = replace(settings, logs=replace(settings.logs, drain_seconds=drain_seconds))
    show_progress()
    with open_cluster(settings) as container, ExitStack() as stack:
        stack.enter_context(telling_what_is_left(container, config, prefix, after_errors=False))
        if settings.is_local and log_dir is not None:
            from iris_adapters.smoke_test.python_logs import landed_python_logs
            from iris_core.log_paths import make_output_dir

            make_output_dir(log_dir)
            stack.enter_context(landed_python_logs(log_dir / "iris-logs.txt"))
        manager = container.cluster_manager()
        with manager.connect(log_dir=log_dir, end_seconds=BEFORE_DELETION_SECONDS) as url:
            say(f"export IRIS_URL={url}")
            if manager.controller is not None and manager.controller.token is not None:
                say(f"export IRIS_TOKEN={manager.controller.token}")
            note("With these two in another terminal, `iris job` reaches this cluster. Ctrl-C ends it.")
            wait_for_ctrl_c(container.clock())
