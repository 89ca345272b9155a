"""`iris cleanup`, and what it shares with `iris down`: the plan, the black box, the deletion."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from iris_adapters.cli.common import (
    NeededConfigOption,
    PrefixOption,
    note,
    open_cluster,
    read_gcp_config,
    say,
    show_progress,
)
from iris_adapters.cli.durations import parse_seconds, span_text
from iris_adapters.cli.leaving import telling_what_is_left

if TYPE_CHECKING:
    from iris_adapters.container import IrisContainer
    from iris_core.cleanup import CleanupPlan
    from iris_core.costs import Assessed

_MOST_PROBLEMS_TOLD: Final = 5
_ANYBODY: Final = "any"
_ME: Final = "me"

OwnerOption: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="me|any|NAME", help="Whose resources. Somebody else's are left alone unless this says otherwise."
    ),
]
BlackBoxOption: TypeAlias = Annotated[
    bool, typer.Option(help="Before deleting, capture logs, docker inspect, kernel messages and serial output.")
]
BlackBoxDirOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where the capture goes. None: ./iris-black-box-<cluster>-<time>."),
]


def cleanup(
    config: NeededConfigOption,
    prefix: PrefixOption = None,
    *,
    dry_run: Annotated[bool, typer.Option(help="Only show what would be deleted.")] = True,
    all_zones: Annotated[
        bool, typer.Option("--all-zones", help="Look in every zone of the project, not in the file's alone.")
    ] = False,
    older_than: Annotated[
        float | None, typer.Option(parser=parse_seconds, metavar="AGE", help="Only what is older: 8h, 90m, 2d.")
    ] = None,
    owner: OwnerOption = _ME,
    black_box: BlackBoxOption = True,
    log_dir: BlackBoxDirOption = None,
) -> None:
    """Show what there is of the cluster in Google Cloud, in whatever state, its age and cost; with --no-dry-run, delete it."""
    settings = read_gcp_config(config, prefix)
    with open_cluster(settings) as container:
        plan = make_plan(container, owner, older_than=older_than, all_zones=all_zones)
        show_kept(plan)
        if not plan.deletions:
            where = "any zone" if all_zones else settings.zone
            note(f"There is nothing of the cluster {settings.label_prefix} to delete in {where}.")
            return
        if dry_run:
            show_plan(container, plan)
            note("This is the plan; --no-dry-run carries it out.")
            return
        show_progress()
        with telling_what_is_left(container, config, prefix, after_errors=False, all_zones=all_zones):
            for name in carry_out(container, plan, log_dir, black_box=black_box):
                say(f"{name} deleted")


def make_plan(
    container: IrisContainer, owner: str, *, older_than: float | None = None, all_zones: bool = False
) -> CleanupPlan:
    """The plan that the options ask for.

    Args:
        container: of the cluster.
        owner: as `OwnerOption` takes it.
        older_than: in seconds.
        all_zones: see `Selection`.
    """
    from iris_core.cleanup import Selection, plan_cleanup
    from iris_core.labels import owner_value

    inventory = container.inventory()
    whose = None if owner == _ANYBODY else inventory.owner() if owner == _ME else owner_value(owner)
    selection = Selection(owner=whose, older_than_seconds=older_than, all_zones=all_zones)
    return plan_cleanup(inventory, selection, prices=container.config().prices, now=container.clock().now())


def show_kept(plan: CleanupPlan) -> None:
    """Say what is left alone, and how it would not be."""
    for kept in plan.kept:
        note(f"{kept.resource.name} is left alone: {kept.why}.")
    if plan.selection.owner is not None and any(
        kept.resource.owner not in ("", plan.selection.owner) for kept in plan.kept
    ):
        note("`--owner any` means everybody's.")


def show_plan(container: IrisContainer, plan: CleanupPlan) -> None:
    """Print what would be deleted, with age and estimated cost."""
    from iris_core.costs import total_of

    for one in plan.deletions:
        say(_plan_line(one))
    total = total_of(plan.deletions)
    if total.cost is not None:
        note(cost_text(total.per_hour, total.cost, total.unpriced))
    elif container.config().prices:
        note(f"No price is configured for {', '.join(total.unpriced) or 'any of it'}.")


def carry_out(container: IrisContainer, plan: CleanupPlan, log_dir: Path | None, *, black_box: bool) -> list[str]:
    """Capture what is to be known of the plan's resources, delete them, and return their names."""
    from iris_core.cleanup import carry_out_cleanup

    if black_box:
        _capture(container, plan, log_dir)
    return carry_out_cleanup(container.inventory(), plan)


def cost_text(per_hour: float | None, cost: float | None, unpriced: tuple[str, ...]) -> str:
    """An estimate in words."""
    missing = f" Not priced: {', '.join(unpriced)}." if unpriced else ""
    return f"Estimated cost at the configured prices: {per_hour or 0:.2f} an hour, {cost or 0:.2f} until now.{missing}"


def _plan_line(one: Assessed) -> str:
    resource = one.resource
    age = f"age {span_text(one.age_seconds)}" if one.age_seconds is not None else "age not known"
    cost = "" if one.cost is None else f"cost about {one.cost:.2f}"
    facts = [
        resource.state or str(resource.phase),
        resource.zone,
        resource.owner and f"owner {resource.owner}",
        age,
        cost,
    ]
    return f"{resource.name} ({', '.join(filter(None, facts))})"


def _capture(container: IrisContainer, plan: CleanupPlan, log_dir: Path | None) -> None:
    from iris_core.black_box import capture_black_box, is_worth_a_capture

    settings, clock = container.config(), container.clock()
    if settings.logs.black_box_seconds <= 0 or not any(map(is_worth_a_capture, plan.resources)):
        return
    directory = log_dir or Path(f"iris-black-box-{settings.label_prefix}-{clock.now():%Y%m%d-%H%M%S}")
    note(f"Capturing what is about to be deleted, for at most {settings.logs.black_box_seconds:g} s, in {directory}")
    try:
        box = capture_black_box(
            config=settings,
            shell=container.shell(),
            inventory=container.inventory(),
            clock=clock,
            resources=plan.resources,
            directory=directory,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is (a full disk, say), it must not stand in the way of the deletion
        note(f"Nothing is captured before the deletion: {error}")
        return
    for problem in box.problems[:_MOST_PROBLEMS_TOLD]:
        note(f"Not captured: {problem}")
    if len(box.problems) > _MOST_PROBLEMS_TOLD:
        note(f"Nor were {len(box.problems) - _MOST_PROBLEMS_TOLD} other things.")
