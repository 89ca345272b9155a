"""The `iris` command: its commands, and how it ends."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import signal
import sys
import traceback
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from typing import Annotated, NoReturn

import typer

from iris_adapters.cli import cleanup, cluster, doctor, jobs, logs, smoke, status
from iris_adapters.cli.common import config_path, note, read_config, say
from iris_adapters.cli.interrupts import interrupts
from iris_adapters.cli.streams import OutputError, finish_output, prepare_streams
from iris_core.errors import IrisError

app = typer.Typer(
    name="iris",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing Rich would take longer than all the rest of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
config_app = typer.Typer(no_args_is_help=True, help="Look at configuration files.")


@dataclass
class _State:
    shows_tracebacks: bool = False


_state = _State()


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if wanted:
        from importlib.metadata import version

        say(f"iris {version('iris-cluster')}")
        raise typer.Exit


@app.callback()
def iris(
    *,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Start a TPU or GPU cluster on Google Cloud (or in this process), reach its controller, and land every log line."""
    _state.shows_tracebacks = debug


app.command("smoke-test")(smoke.smoke_test)
app.command()(doctor.doctor)
app.command()(cluster.up)
app.command()(status.status)
app.command()(cluster.connect)
app.command()(cluster.down)
app.command()(cleanup.cleanup)
app.add_typer(jobs.app, name="job")
app.add_typer(logs.app, name="logs")
app.add_typer(config_app, name="config")


@config_app.command()
def check(file: Annotated[Path, typer.Argument(metavar="FILE", parser=config_path, help="The YAML file.")]) -> None:
    """Say whether a file is right, or every mistake in it with its line."""
    config = read_config(file)
    place = "in this process" if config.is_local else f"in {config.project_id}, {config.zone}"
    workers = ", ".join(f"{group.count} x {group.name}" for group in config.workers) or "none"
    say(f"{file} is right: the cluster {config.label_prefix} {place}; worker slices: {workers}")


_command = cache(
    partial(typer.main.get_command, app)
)  # made once, however many command lines a process (of tests) runs


def main() -> NoReturn:
    """Run the command line and exit: 0, 2 for a wrong command line or configuration, else what `iris_core.errors` says.

    What Ctrl-C, SIGTERM and SIGHUP do: see `iris_adapters.cli.interrupts`; what standard output and error do: `.streams`.
    """
    output = prepare_streams()
    interrupts.install()
    code = interrupts.exit_code(_run())
    interrupts.done()
    if problem := finish_output(output):
        _tell(problem)
        code = code or problem.exit_code
    sys.exit(code)


def _run() -> int:
    """Run the command line; the exit code."""
    try:
        _command()(prog_name="iris")
    except OutputError as error:
        return error.exit_code  # told at the end, as one is that somebody else has caught
    except IrisError as error:
        _tell(error)
        return error.exit_code
    except KeyboardInterrupt:  # before Typer takes care of it
        return 128 + signal.SIGINT
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    return 0


def _tell(error: IrisError) -> None:
    if _state.shows_tracebacks:
        traceback.print_exception(error)
    note("\n".join([f"iris: {error}", *getattr(error, "__notes__", ())]))
