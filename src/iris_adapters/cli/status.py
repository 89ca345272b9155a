"""`iris status`: what there is of a cluster, what it costs, and what streams of it. docs/status.md has the JSON's shape."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iris_adapters.cli.cleanup import cost_text
from iris_adapters.cli.common import (
    NeededConfigOption,
    Output,
    OutputOption,
    PrefixOption,
    note,
    open_cluster,
    read_gcp_config,
    say,
)
from iris_adapters.cli.durations import span_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from iris_core.config import ClusterConfig
    from iris_core.costs import Assessed
    from iris_core.model import Resource
    from iris_core.source_status import SourceStatus

_COLUMNS = ("NAME", "KIND", "GROUP", "STATE", "HOSTS", "ADDRESS", "OWNER", "AGE")
_PRICED_COLUMNS = ("PER HOUR", "COST")
_SOURCE_COLUMNS = ("SOURCE", "STREAM", "SILENT FOR", "RESTARTS", "GAPS", "WHY")


def status(
    config: NeededConfigOption,
    prefix: PrefixOption = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where an iris lands this cluster's logs: shows what streams, and why not."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show controller and worker slices as Google Cloud reports them: state, age, owner, cost; and what streams of them."""
    from iris_core.model import ControllerVm

    settings = read_gcp_config(config, prefix)
    with open_cluster(settings) as container:
        now = container.clock().now()
        resources = sorted(container.inventory().list_resources(), key=lambda one: not isinstance(one, ControllerVm))
        sources = None
        if log_dir is not None:
            from iris_core.cluster_status import stream_status

            sources = stream_status(log_dir, resources, now)
    from iris_core.costs import assess

    assessed = assess(resources, settings.prices, now)
    if output is Output.JSON:
        from iris_adapters.cli.tables import print_json

        print_json(_values(settings, assessed, sources, now))
    else:
        _print_tables(settings, assessed, sources)


def _print_tables(
    settings: ClusterConfig, assessed: Sequence[Assessed], sources: Sequence[SourceStatus] | None
) -> None:
    from iris_adapters.cli.tables import print_table
    from iris_core.costs import total_of

    if not assessed:
        say(f"There is no cluster {settings.label_prefix} in {settings.project_id}, {settings.zone}")
    else:
        priced = bool(settings.prices)
        columns = _COLUMNS + (_PRICED_COLUMNS if priced else ())
        print_table(columns, [_row(one) + (_prices(one) if priced else ()) for one in assessed])
        total = total_of(assessed)
        if total.cost is not None:
            note(cost_text(total.per_hour, total.cost, total.unpriced))
    if sources is None:
        return
    say("")
    rows = [
        (one.source, one.state, span_text(one.silent_seconds), one.record.restarts, one.record.gaps, one.why)
        for one in sources
    ]
    print_table(_SOURCE_COLUMNS, rows)


def _row(one: Assessed) -> tuple[object, ...]:
    resource = one.resource
    state = f"{resource.phase} ({resource.state})" if resource.state else str(resource.phase)
    addresses = _addresses(resource)
    address = addresses[0] if addresses else ""
    if len(addresses) > 1:
        address += f" +{len(addresses) - 1}"
    group = getattr(resource, "group", "")
    return (
        resource.name,
        _kind(resource),
        group,
        state,
        len(addresses),
        address,
        resource.owner,
        span_text(one.age_seconds),
    )


def _prices(one: Assessed) -> tuple[object, ...]:
    return tuple("" if value is None else f"{value:.2f}" for value in (one.price_per_hour, one.cost))


def _addresses(resource: Resource) -> list[str]:
    from iris_core.model import ControllerVm, Slice

    if isinstance(resource, ControllerVm):
        return [resource.host.address]
    return [host.address for host in resource.hosts] if isinstance(resource, Slice) else []


def _kind(resource: Resource) -> str:
    from iris_core.model import ControllerVm, Slice

    return "controller" if isinstance(resource, ControllerVm) else "slice" if isinstance(resource, Slice) else "request"


def _values(
    settings: ClusterConfig,
    assessed: Sequence[Assessed],
    sources: Sequence[SourceStatus] | None,
    now: datetime,
) -> dict[str, Any]:
    """For programs, as docs/status.md promises. Tokens are nobody's business."""
    from iris_core.costs import total_of

    total = total_of(assessed)
    by_kind: dict[str, list[dict[str, Any]]] = {"controller": [], "slice": [], "request": []}
    for one in assessed:
        by_kind[_kind(one.resource)].append(_resource_values(one))
    return {
        "at": now.isoformat(),
        "label_prefix": settings.label_prefix,
        "project_id": settings.project_id,
        "zone": settings.zone,
        "controller": next(iter(by_kind["controller"]), None),
        "slices": by_kind["slice"],
        "requests": by_kind["request"],
        "cost": {"per_hour": total.per_hour, "until_now": total.cost, "not_priced": list(total.unpriced)},
        "sources": None if sources is None else [_source_values(source) for source in sources],
    }


def _resource_values(one: Assessed) -> dict[str, Any]:
    from iris_core.model import ControllerVm, QueuedSlice, Slice

    resource = one.resource
    values: dict[str, Any] = {
        "name": resource.name,
        "phase": resource.phase,
        "state": resource.state,
        "zone": resource.zone,
        "owner": resource.owner or None,
        "created_at": resource.created_at and resource.created_at.isoformat(),
        "age_seconds": one.age_seconds,
        "expires_at": resource.expires_at and resource.expires_at.isoformat(),
        "price_per_hour": one.price_per_hour,
        "cost": one.cost,
        "labels": dict(resource.labels),
    }
    if isinstance(resource, ControllerVm):
        return values | {
            "machine_type": resource.machine_type,
            "address": resource.host.address,
            "port": resource.port,
            "instance_id": resource.host.instance_id,
        }
    values |= {
        "group": resource.group,
        "accelerator_type": resource.hardware.accelerator_type,
        "runtime_version": resource.hardware.runtime_version,
        "spot": resource.hardware.spot,
    }
    if isinstance(resource, Slice):
        values["instance_id"] = resource.instance_id
        values["hosts"] = [{"name": host.name, "address": host.address} for host in resource.hosts]
    if isinstance(resource, QueuedSlice):
        values["problem"] = resource.problem or None
    return values


def _source_values(source: SourceStatus) -> dict[str, Any]:
    record = source.record
    return {
        "source": source.source,
        "host": source.host or None,
        "state": source.state,
        "why": source.why,
        "silent_seconds": source.silent_seconds,
        "exit_code": record.exit_code,
        "oom_killed": record.oom_killed,
        "restarts": record.restarts,
        "gaps": record.gaps,
        "container": record.container or None,
        "changed_at": record.changed_at and record.changed_at.isoformat(),
        "path": str(source.path),
    }
