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
    from typing import BinaryIO

    from iris_core.config import ClusterConfig

app = typer.Typer(no_args_is_help=True, help="Land the Docker logs of a running cluster, and read them.")

DirArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="DIR", help="Where the logs are landed.")]


class _BothStreams:
    """Standard output and standard error, which may be one file or terminal: what is written gets there in its order."""

    def __init__(self) -> None:
        self._to_error = False

    def write(self, data: bytes, *, is_error: bool) -> None:
        if is_error is not self._to_error:
            _buffer(is_error=self._to_error).flush()
            self._to_error = is_error
        _buffer(is_error=is_error).write(data)


def _buffer(*, is_error: bool) -> BinaryIO:
    return (sys.stderr if is_error else sys.stdout).buffer


@app.command()
def stream(
    directory: DirArgument,
    config: NeededConfigOption,
    prefix: PrefixOption = None,
    shard: ShardOption = None,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin new files beside those that are there.")] = False,
) -> None:
    """Land the logs of a running cluster as they come, until Ctrl-C. The cluster is not touched; logs that are there go on."""
    from iris_core.config import DEFAULT_CONTROLLER_CONTAINER
    from iris_core.log_streaming import open_log_streaming

    settings = with_shard(read_gcp_config(config, prefix), shard)
    show_progress()
    with open_cluster(settings) as container:
        handle = open_log_streaming(
            config=settings,
            shell=container.shell(),
            inventory=container.inventory(),
            clock=container.clock(),
            output_dir=directory,
            controller_container=settings.controller.container.name or DEFAULT_CONTROLLER_CONTAINER,
            worker_container=_worker_container(settings),
            fresh=fresh,
        )
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
    output = _BothStreams()
    if source is not None:
        for is_error, payload in read_payloads(sources[source]):
            output.write(payload, is_error=is_error)
        return
    for name, path in sources.items():
        _cat_named(name, path, output)


def _cat_named(name: str, path: Path, output: _BothStreams) -> None:
    """Print a source with its name before each line."""
    from iris_core.log_reader import read_payloads

    unfinished = {False: b"", True: b""}  # long lines come in pieces
    for is_error, payload in read_payloads(path):
        *lines, unfinished[is_error] = (unfinished[is_error] + payload).split(b"\n")
        for line in lines:
            output.write(b"%s: %s\n" % (name.encode(), line), is_error=is_error)
    for is_error, rest in unfinished.items():
        if rest:
            output.write(b"%s: %s\n" % (name.encode(), rest), is_error=is_error)


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
