"""`iris smoke-test`."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import os
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from iris_adapters.cli.common import ConfigOption, open_cluster, read_config
from iris_adapters.cli.leaving import command_line

_PREFIX = "iris-smoke"


def smoke_test(
    config: ConfigOption = None,
    *,
    local: Annotated[bool, typer.Option("--local", help="Run in this process, whatever the file says.")] = False,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            readable=False,
            help="A new directory for all artifacts. None: ./iris-smoke-test-<time>-<pid>.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="For everything but the clean-up together.")
    ] = 1800.0,
    job_timeout: Annotated[
        float, typer.Option(min=0.001, metavar="SECONDS", help="For the jobs of one check.")
    ] = 300.0,
    prefix: Annotated[
        str,
        typer.Option(
            metavar="PREFIX", help="Label prefix of the cluster. Whatever bears it is deleted, before and after!"
        ),
    ] = _PREFIX,
    no_cleanup_on_failure: Annotated[
        bool, typer.Option("--no-cleanup-on-failure", help="Leave a cluster on which something failed as it is.")
    ] = False,
) -> None:
    """Start a cluster, run jobs on it, land all logs and artifacts, delete it, and say whether all went well."""
    from iris_adapters.smoke_test.runner import SmokeTestOptions, run_smoke_test

    settings = read_config(config, prefix, local=local)
    options = SmokeTestOptions(
        down="" if config is None else command_line("down", config=config, prefix=prefix),
        log_dir=log_dir or Path(f"iris-smoke-test-{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}"),
        timeout_seconds=timeout,
        job_timeout_seconds=job_timeout,
        keep_on_failure=no_cleanup_on_failure,
    )
    if settings.is_local:
        _check_is_text(options.log_dir)
    with open_cluster(settings) as container:
        exit_code = run_smoke_test(container, options, sys.stdout, errors=sys.stderr)
    raise typer.Exit(exit_code)


def _check_is_text(log_dir: Path) -> None:
    """Refuse a directory whose name a job's command line, which is text, cannot have: the jobs of a local cluster meet in it."""
    from iris_core.errors import LogFileError

    try:
        with suppress(
            FileNotFoundError
        ):  # of a working directory that has been deleted: it cannot be made there, and that is told
            log_dir = log_dir.absolute()
        str(log_dir).encode()
    except UnicodeEncodeError as error:
        raise LogFileError(
            f"The path of {str(log_dir)!r} is not UTF-8, and jobs could not be told it: name another directory (--log-dir).",
            path=log_dir,
        ) from error
