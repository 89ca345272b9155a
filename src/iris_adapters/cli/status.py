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
from iris_core.log_paths import CONTAINER_LOGS
from iris_core.model import ControllerVm, QueuedSlice, Slice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from iris_core.config import ClusterConfig
    from iris_core.costs import Assessed
    from iris_core.model import Host, Resource
    from iris_core.source_status import SourceStatus

_MOST_HOSTS_SHOWN = 32
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
    *,
    hosts: Annotated[
        bool | None, typer.Option(help=f"A row for each host. Not given: for up to {_MOST_HOSTS_SHOWN} of them.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show controller and worker slices as Google Cloud reports them: state, age, owner, cost; and what streams of them."""
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
        _print_tables(settings, assessed, sources, hosts=hosts)


def _print_tables(
    settings: ClusterConfig,
    assessed: Sequence[Assessed],
    sources: Sequence[SourceStatus] | None,
    *,
    hosts: bool | None,
) -> None:
    from iris_adapters.cli.tables import print_table
    from iris_core.costs import total_of

    if not assessed:
        say(f"There is no cluster {settings.label_prefix} in {settings.project_id}, {settings.zone}")
    else:
        priced = bool(settings.prices)
        columns = _COLUMNS + (_PRICED_COLUMNS if priced else ())
        count = sum(len(_hosts(one.resource)) for one in assessed)
        rows = []
        for one in assessed:
            rows.append(_row(one) + (_prices(one) if priced else ()))
            if hosts or (hosts is None and count <= _MOST_HOSTS_SHOWN):
                rows += [_host_row(one, host) for host in _hosts(one.resource)]
        print_table(columns, rows)
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
    group = getattr(resource, "group", "")
    count = len(_hosts(resource)) or ""
    address = resource.host.address if isinstance(resource, ControllerVm) else ""
    age = span_text(one.age_seconds)
    return resource.name, _kind(resource), group, _state(resource), count, address, resource.owner, age


def _host_row(one: Assessed, host: Host) -> tuple[object, ...]:
    """A host comes and goes with its slice, and so has its state, owner and age."""
    resource = one.resource
    return f"  {host.name}", "host", "", _state(resource), "", host.address, resource.owner, span_text(one.age_seconds)


def _state(resource: Resource) -> str:
    return f"{resource.phase} ({resource.state})" if resource.state else str(resource.phase)


def _prices(one: Assessed) -> tuple[object, ...]:
    return tuple("" if value is None else f"{value:.2f}" for value in (one.price_per_hour, one.cost))


def _hosts(resource: Resource) -> tuple[Host, ...]:
    """The hosts of a slice: a controller is its own."""
    return resource.hosts if isinstance(resource, Slice) else ()


def _kind(resource: Resource) -> str:
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
    streams = {one.host: str(one.state) for one in sources or () if not one.source.startswith(CONTAINER_LOGS)}
    by_kind: dict[str, list[dict[str, Any]]] = {"controller": [], "slice": [], "request": []}
    for one in assessed:
        by_kind[_kind(one.resource)].append(_resource_values(one, streams))
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


def _resource_values(one: Assessed, streams: Mapping[str, str]) -> dict[str, Any]:
    """`streams` has the state of each host's main log."""
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
            "stream": streams.get(resource.name),
        }
    values |= {
        "group": resource.group,
        "accelerator_type": resource.hardware.accelerator_type,
        "runtime_version": resource.hardware.runtime_version,
        "spot": resource.hardware.spot,
    }
    if isinstance(resource, Slice):
        values["instance_id"] = resource.instance_id
        values["hosts"] = [
            {"name": host.name, "address": host.address, "state": resource.state, "stream": streams.get(host.name)}
            for host in resource.hosts
        ]
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
