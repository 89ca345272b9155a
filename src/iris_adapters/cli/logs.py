"""`iris logs stream`, `collect` and `cat`."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from iris_adapters.cli.common import (
    NeededConfigOption,
    PrefixOption,
    ShardOption,
    note,
    open_cluster,
    read_gcp_config,
    say,
    show_progress,
    wait_for_ctrl_c,
    with_shard,
)

if TYPE_CHECKING:
    from iris_core.config import ClusterConfig

app = typer.Typer(no_args_is_help=True, help="Land the Docker logs of a running cluster, and read them.")

DirArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="DIR", help="Where the logs are landed.")]


@app.command()
def stream(
    directory: DirArgument, config: NeededConfigOption, prefix: PrefixOption = None, shard: ShardOption = None
) -> None:
    """Land the logs of a running cluster as they come, until Ctrl-C. The cluster is not touched; logs that are there go on."""
    settings = with_shard(read_gcp_config(config, prefix), shard)
    show_progress()
    with open_cluster(settings) as container:
        handle = container.cluster_manager().start_log_streaming(directory)
        if handle is None:  # not for a cluster on Google Cloud
            return
        try:
            note(f"Landing logs in {directory}. Ctrl-C ends it.")
            wait_for_ctrl_c(container.clock())
        finally:
            handle.stop()
        controllers = "" if settings.logs.shard_index else ", and the controller's,"
        note(f"Landed the logs of {len(handle.discovered_workers())} worker hosts{controllers} in {directory}.")


@app.command()
def collect(
    directory: DirArgument, config: NeededConfigOption, prefix: PrefixOption = None, shard: ShardOption = None
) -> None:
    """Land what the logs of a running cluster hold at this moment, and end."""
    from iris_core.config import DEFAULT_CONTROLLER_CONTAINER
    from iris_core.errors import EngineError
    from iris_core.log_collection import collect_cluster_logs

    settings = with_shard(read_gcp_config(config, prefix), shard)
    show_progress()
    with open_cluster(settings) as container:
        problems = collect_cluster_logs(
            config=settings,
            shell=container.shell(),
            inventory=container.inventory(),
            clock=container.clock(),
            output_dir=directory,
            controller_container=settings.controller.container.name or DEFAULT_CONTROLLER_CONTAINER,
            worker_container=_worker_container(settings),
        )
    if problems:
        raise EngineError("Not everything was landed:\n" + "\n".join(problems))
    note(f"Landed in {directory}.")


@app.command()
def cat(
    directory: DirArgument,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]", help="One source (`controller-logs`, `workers/NAME`). None: all, named on each line."
        ),
    ] = None,
    *,
    names: Annotated[bool, typer.Option("--names", help="Only list the sources.")] = False,
) -> None:
    """Print landed logs as the containers wrote them; what went to standard error goes there."""
    from iris_core.errors import LogFileError
    from iris_core.log_reader import landed_sources, read_payloads

    sources = landed_sources(directory)
    if names:
        for name in sources:
            say(name)
        return
    if source is not None and source not in sources:
        known = ", ".join(sources) or "there are none"
        raise LogFileError(f"No log of {source} has been landed in {directory} ({known}).", path=directory)
    if source is not None:
        for is_error, payload in read_payloads(sources[source]):
            (sys.stderr if is_error else sys.stdout).buffer.write(payload)
        return
    for name, path in sources.items():
        _cat_named(name, path)


def _cat_named(name: str, path: Path) -> None:
    """Print a source with its name before each line."""
    from iris_core.log_reader import read_payloads

    unfinished = {False: b"", True: b""}  # long lines come in pieces
    for is_error, payload in read_payloads(path):
        *lines, unfinished[is_error] = (unfinished[is_error] + payload).split(b"\n")
        for line in lines:
            _write_named(name, line, is_error=is_error)
    for is_error, rest in unfinished.items():
        if rest:
            _write_named(name, rest, is_error=is_error)


def _write_named(name: str, line: bytes, *, is_error: bool) -> None:
    (sys.stderr if is_error else sys.stdout).buffer.write(b"%s: %s\n" % (name.encode(), line))


def _worker_container(config: ClusterConfig) -> str:
    from iris_core.config import DEFAULT_WORKER_CONTAINER
    from iris_core.errors import ConfigError

    names = sorted({group.container.name or DEFAULT_WORKER_CONTAINER for group in config.workers})
    if len(names) > 1:
        raise ConfigError(
            f"the worker groups' containers have different names ({', '.join(names)}): logs are landed from one name",
            key_path="workers",
        )
    return names[0] if names else DEFAULT_WORKER_CONTAINER
