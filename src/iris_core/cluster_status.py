"""What streams of a cluster: what is on record in an output directory, put beside what the inventory says of the machines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from iris_core.errors import LogFileError
from iris_core.log_file import is_being_captured
from iris_core.log_paths import CONTAINER_LOGS, CONTROLLER_LOG, WORKER_LOGS, host_path
from iris_core.log_reader import landed_sources, read_events
from iris_core.model import ControllerVm, Slice, VmPhase
from iris_core.source_status import Machine, SourceRecord, SourceState, SourceStatus, fold, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from iris_core.model import Resource

_FRESH: Final = re.compile(r"(?P<source>.+)~(?P<number>\d+)")
_PREEMPTED: Final = "PREEMPTED"
_GONE: Final = Machine(runs=False, preempted=False, state="there is no such VM any more")
_CONTROLLER: Final = CONTROLLER_LOG.removesuffix(".txt")


def stream_status(output_dir: Path, resources: Sequence[Resource], now: datetime) -> list[SourceStatus]:
    """How each source is doing that has landed in a directory, and each host whose log should.

    Args:
        output_dir: where the logs of a cluster are landed, by this or another process.
        resources: what there is of the cluster now.
        now: the time.

    Returns:
        one status a source, by name. Of the files that `--fresh` has begun beside one another (`~2`), the newest counts.

    Raises:
        LogFileError: there is no such directory, or something in it cannot be read.
    """
    machines, controller = _machines(resources)
    statuses: dict[str, SourceStatus] = {}
    for source, path in _newest(landed_sources(output_dir)).items():
        first, _, rest = source.partition("/")
        host = controller if source == _CONTROLLER else rest.partition("/")[0]
        is_ours = source == _CONTROLLER or first in {WORKER_LOGS, CONTAINER_LOGS}
        statuses[source] = _status(source, host, path, machines.get(host, _GONE) if is_ours else None, now)
    for host_name, path in _expected(output_dir, resources).items():
        source = str(path.relative_to(output_dir).with_suffix(""))
        if source not in statuses and machines[host_name].runs:
            statuses[source] = SourceStatus(
                source=source,
                host=host_name,
                state=SourceState.NOT_CAPTURED,
                why="nothing of it has landed here",
                silent_seconds=None,
                path=path,
                record=SourceRecord(),
            )
    return [statuses[source] for source in sorted(statuses)]


def _status(source: str, host: str, path: Path, machine: Machine | None, now: datetime) -> SourceStatus:
    record = fold(read_events(path))
    try:
        captured = is_being_captured(path)
        facts = path.stat()
    except OSError as error:
        raise LogFileError(f"Cannot read {path}: {error.strerror or error}.", path=path) from error
    since = datetime.fromtimestamp(facts.st_mtime, UTC) if facts.st_size else record.began_at
    silent_seconds = None if since is None else max((now - since).total_seconds(), 0.0)
    state, why = judge(record, captured=captured, silent_seconds=silent_seconds, machine=machine)
    return SourceStatus(
        source=source,
        host=host,
        state=state,
        why=why,
        silent_seconds=silent_seconds,
        path=path,
        record=record,
    )


def _machines(resources: Sequence[Resource]) -> tuple[dict[str, Machine], str]:
    """What each host's machine is like, by the host's name; and the controller's name, empty where there is none."""
    machines: dict[str, Machine] = {}
    controller = ""
    for resource in resources:
        if isinstance(resource, ControllerVm):
            controller = resource.name
            machines[resource.name] = _machine(resource)
        elif isinstance(resource, Slice):
            machines |= dict.fromkeys((host.name for host in resource.hosts), _machine(resource))
    return machines, controller


def _machine(resource: ControllerVm | Slice) -> Machine:
    return Machine(
        runs=resource.phase in {VmPhase.PENDING, VmPhase.READY},
        preempted=resource.state == _PREEMPTED,
        state=f"{resource.name} is {resource.state or resource.phase}",
    )


def _expected(output_dir: Path, resources: Sequence[Resource]) -> dict[str, Path]:
    hosts = []
    for resource in resources:
        if isinstance(resource, ControllerVm):
            hosts.append(resource.host)
        elif isinstance(resource, Slice):
            hosts.extend(resource.hosts)
    return {host.name: host_path(output_dir, host) for host in hosts}


def _newest(sources: Mapping[str, Path]) -> dict[str, Path]:
    newest: dict[str, tuple[int, Path]] = {}
    for name, path in sources.items():
        fresh = _FRESH.fullmatch(name)
        source, number = (fresh["source"], int(fresh["number"])) if fresh else (name, 1)
        newest[source] = max(newest.get(source, (0, path)), (number, path))
    return {source: path for source, (_, path) in newest.items()}
