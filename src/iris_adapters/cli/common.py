"""What the commands share: their options, and the way from these to a cluster."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import logging
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iris_adapters.container import IrisContainer
    from iris_core.config import ClusterConfig
    from iris_core.ports.clock import Clock


def config_path(text: str) -> Path:
    """A configuration's path, as an option has it."""
    if not text:
        raise typer.BadParameter("it is empty: name a YAML file")
    return Path(text)


def config_option(help_text: str) -> Any:
    """The option that names a configuration."""
    return typer.Option("--config", "-c", envvar="IRIS_CONFIG", metavar="FILE", parser=config_path, help=help_text)


ConfigOption: TypeAlias = Annotated[Path | None, config_option("The cluster's YAML file. None: a local cluster.")]
NeededConfigOption: TypeAlias = Annotated[Path, config_option("The cluster's YAML file.")]
PrefixOption: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PREFIX", help="Take this label prefix instead of the file's.")
]

ShardOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Land only the I-th (from 0 on) of N shares of the slices; 0/N has the controller, too. Run N of these.",
    ),
]


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption: TypeAlias = Annotated[
    Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")
]


def read_config(path: Path | None, prefix: str | None = None, *, local: bool = False) -> ClusterConfig:
    """The configuration of a file (None: all defaults, so a local cluster), with what the options change."""
    from iris_core.config import ClusterConfig, Mode

    if path is None:
        config = ClusterConfig()
    else:
        from iris_adapters.config_file import load_config

        config = load_config(path)
    if local:
        config = replace(config, mode=Mode.LOCAL)
    return config if prefix is None else replace(config, label_prefix=prefix)


def read_gcp_config(path: Path, prefix: str | None = None) -> ClusterConfig:
    """The configuration of a cluster that goes on without this process.

    Raises:
        ConfigError: it is a local one.
    """
    config = read_config(path, prefix)
    if config.is_local:
        from iris_core.errors import ConfigError

        raise ConfigError(
            "this is a local cluster, which lives only in the process that starts it, so there is nothing to look at or change "
            "from here: `iris connect` holds one open, `iris smoke-test` tries one out",
            key_path="mode",
            file=path,
        )
    return config


def with_shard(config: ClusterConfig, shard: str | None) -> ClusterConfig:
    """The configuration for one of several processes that share the landing of a cluster's logs."""
    if shard is None:
        return config
    index, slash, count = shard.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise typer.BadParameter(
            f"{shard!r} is not I/N, the I-th (from 0 on) of N: 0/4, 1/4, 2/4 and 3/4 share a cluster",
            param_hint="--shard",
        )
    return replace(config, logs=replace(config.logs, shard_index=int(index), shard_count=int(count)))


@contextmanager
def open_cluster(config: ClusterConfig) -> Iterator[IrisContainer]:
    """The container of a cluster; everything in it is closed at the end."""
    from iris_adapters.container import open_container

    with open_container(config) as container:
        yield container


def show_progress() -> None:
    """Have what iris logs from INFO on printed on stderr, for commands that take a while."""
    logger = logging.getLogger("iris")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def wait_for_ctrl_c(clock: Clock) -> None:
    """Block until the user has had enough."""
    with suppress(KeyboardInterrupt):
        clock.wait(threading.Event(), None)
    sys.stderr.write("\n")


def say(text: str) -> None:
    """A line on stdout."""
    typer.echo(text)


def note(text: str) -> None:
    """A line on stderr: not what was asked for, but good to know."""
    typer.echo(text, err=True)
