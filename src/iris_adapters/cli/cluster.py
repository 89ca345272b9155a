"""`iris up`, `down`, `status`, `connect` and `cleanup`."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iris_adapters.cli.common import (
    ConfigOption,
    NeededConfigOption,
    Output,
    OutputOption,
    PrefixOption,
    note,
    open_cluster,
    read_config,
    read_gcp_config,
    say,
    show_progress,
    wait_for_ctrl_c,
)

if TYPE_CHECKING:
    from iris_core.model import ControllerVm, Slice


def up(config: NeededConfigOption, prefix: PrefixOption = None) -> None:
    """Create the cluster on Google Cloud, or what is missing of it, and leave it running."""
    settings = read_gcp_config(config, prefix)
    show_progress()
    with open_cluster(settings) as container:
        say(container.cluster_manager().start())
    note("The cluster costs money until `iris down` deletes it. `iris connect` gives a URL that works from here.")


def down(config: NeededConfigOption, prefix: PrefixOption = None) -> None:
    """Delete the cluster: the controller and every worker slice that bears its label prefix."""
    settings = read_gcp_config(config, prefix)
    show_progress()
    with open_cluster(settings) as container:
        container.cluster_manager().stop()
    note(f"Nothing of the cluster {settings.label_prefix} is left.")


def status(config: NeededConfigOption, prefix: PrefixOption = None, output: OutputOption = Output.TABLE) -> None:
    """Show the controller and the worker slices as Google Cloud reports them."""
    settings = read_gcp_config(config, prefix)
    with open_cluster(settings) as container:
        controller = container.inventory().find_controller()
        slices = container.inventory().list_slices()
    from iris_adapters.cli.tables import print_json, print_table

    if output is Output.JSON:
        print_json(
            {
                "label_prefix": settings.label_prefix,
                "controller": None if controller is None else _controller_values(controller),
                "slices": [_slice_values(each) for each in slices],
            }
        )
    elif controller is None and not slices:
        say(f"There is no cluster {settings.label_prefix} in {settings.project_id}, {settings.zone}")
    else:
        rows = [] if controller is None else [_controller_row(controller)]
        print_table(
            ("NAME", "KIND", "GROUP", "STATE", "HOSTS", "ADDRESS", "CREATED"), rows + list(map(_slice_row, slices))
        )


def connect(
    config: ConfigOption = None,
    prefix: PrefixOption = None,
    log_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Land the logs of controller and workers here, as they come.")
    ] = None,
) -> None:
    """Hold a way to the controller open until Ctrl-C. A cluster that is not there is started, and deleted at the end."""
    settings = read_config(config, prefix)
    show_progress()
    with open_cluster(settings) as container, ExitStack() as stack:
        if settings.is_local and log_dir is not None:
            from iris_adapters.smoke_test.python_logs import landed_python_logs
            from iris_core.log_paths import make_output_dir

            make_output_dir(log_dir)
            stack.enter_context(landed_python_logs(log_dir / "iris-logs.txt"))
        manager = container.cluster_manager()
        with manager.connect(log_dir=log_dir) as url:
            say(f"export IRIS_URL={url}")
            if manager.controller is not None and manager.controller.token is not None:
                say(f"export IRIS_TOKEN={manager.controller.token}")
            note("With these two in another terminal, `iris job` reaches this cluster. Ctrl-C ends it.")
            wait_for_ctrl_c(container.clock())


def cleanup(
    config: NeededConfigOption,
    prefix: PrefixOption = None,
    *,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be deleted.")] = True,
) -> None:
    """Show what there is of the cluster in Google Cloud, in whatever state; with --no-dry-run, delete it."""
    from iris_core.cleanup import carry_out_cleanup, plan_cleanup

    settings = read_gcp_config(config, prefix)
    with open_cluster(settings) as container:
        inventory = container.inventory()
        plan = plan_cleanup(inventory)
        if not plan:
            note(f"There is nothing of the cluster {settings.label_prefix} to delete.")
            return
        if dry_run:
            for resource in plan:
                say(f"{resource.name} ({resource.state})")
            note("This is the plan; --no-dry-run carries it out.")
            return
        for name in carry_out_cleanup(inventory, plan):
            say(f"{name} deleted")


def _controller_row(controller: ControllerVm) -> tuple[object, ...]:
    address = controller.host.address
    return (controller.name, "controller", "", _state(controller), 1, address, controller.created_at)


def _slice_row(each: Slice) -> tuple[object, ...]:
    addresses = " ".join(host.address for host in each.hosts)
    return (each.name, "slice", each.group, _state(each), len(each.hosts), addresses, each.created_at)


def _state(resource: ControllerVm | Slice) -> str:
    return f"{resource.phase} ({resource.state})" if resource.state else str(resource.phase)


def _controller_values(controller: ControllerVm) -> dict[str, Any]:
    """For programs; the token is nobody's business."""
    return {
        "name": controller.name,
        "phase": controller.phase,
        "state": controller.state,
        "address": controller.host.address,
        "port": controller.port,
        "zone": controller.host.zone,
        "created_at": controller.created_at and controller.created_at.isoformat(),
        "labels": dict(controller.labels),
    }


def _slice_values(each: Slice) -> dict[str, Any]:
    return {
        "name": each.name,
        "group": each.group,
        "phase": each.phase,
        "state": each.state,
        "zone": each.zone,
        "hosts": [{"name": host.name, "address": host.address} for host in each.hosts],
        "created_at": each.created_at and each.created_at.isoformat(),
        "labels": dict(each.labels),
    }
