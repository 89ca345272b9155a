"""`iris job submit`, `list`, `status`, `logs` and `stop`."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iris_adapters.cli.common import Output, OutputOption, PrefixOption, note, say
from iris_adapters.cli.job_access import (
    ClusterOption,
    JobArgument,
    TokenOption,
    UrlOption,
    job_client,
    refused_before_it_is_sent,
)
from iris_core.ray_names import TPU_RESOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iris_adapters.controller.wire import JobInfo

app = typer.Typer(no_args_is_help=True, help="Submit jobs to a running cluster, and watch them.")


@app.command()
def submit(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="After `--`. One word: a shell's command line.")
    ],
    *,
    job_id: Annotated[str | None, typer.Option("--id", help="The job's id. None: the controller makes one up.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", metavar="NAME=VALUE", help="An environment variable. Repeatable.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="How many times it runs.")] = 1,
    cpus: Annotated[float, typer.Option(min=0.001, help="CPUs that each replica occupies.")] = 1.0,
    tpus: Annotated[
        int | None, typer.Option(min=1, help="TPU chips that each replica occupies: --resource TPU=N.")
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(
            "--resource",
            metavar="NAME=AMOUNT",
            help="What else each replica occupies, by Ray's names. Repeatable. Local clusters have none.",
        ),
    ] = None,
    coscheduled: Annotated[
        bool,
        typer.Option(
            "--coscheduled", help="Start the replicas only when all can run, each on its own worker, all of one slice."
        ),
    ] = False,
    slice_name: Annotated[
        str | None, typer.Option("--slice", metavar="SLICE", help="Run on workers of this slice only.")
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Run on workers of slices of this type only: v5litepod-16.")
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0, help="How often it may lose a worker and go on: the replica, of a coscheduled job all, runs again."
        ),
    ] = 0,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print its output until it has ended; exit 1 unless it succeeds.")
    ] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ClusterOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Submit a job and print its id."""
    from iris_adapters.controller.wire import JobRequest, JobStatus

    pairs = [each.partition("=") for each in env or ()]
    for name, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"{name!r} is not NAME=VALUE", param_hint="--env")
    with refused_before_it_is_sent():
        request = JobRequest(
            entrypoint=command[0] if len(command) == 1 else shlex.join(command),
            job_id=job_id,
            env={name: value for name, _, value in pairs},
            replicas=replicas,
            cpus_per_replica=cpus,
            resources_per_replica=_resources(resource or (), tpus),
            coscheduled=coscheduled,
            slice_name=slice_name,
            accelerator_type=accelerator,
            retries=retries,
        )
    with job_client(url, token, config, prefix) as client:
        submitted = client.submit(request)
        if not follow:
            say(submitted)
            return
        note(submitted)
        for line in client.follow(submitted):
            say(line)
        ended = client.get(submitted)
    note(f"{ended.status}: {ended.message}")
    raise typer.Exit(0 if ended.status is JobStatus.SUCCEEDED else 1)


@app.command("list")
def list_jobs(
    *,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ClusterOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show every job that the controller knows."""
    from iris_adapters.cli.tables import print_json, print_table

    with job_client(url, token, config, prefix) as client:
        jobs = client.list()
    if output is Output.JSON:
        print_json([_job_values(job) for job in jobs])
    else:
        rows = [
            (job.job_id, job.status, _time(job.start_time_ms), _time(job.end_time_ms), job.entrypoint) for job in jobs
        ]
        print_table(("JOB", "STATUS", "SUBMITTED", "ENDED", "COMMAND"), rows)


@app.command()
def status(
    job: JobArgument,
    *,
    output: OutputOption = Output.TABLE,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ClusterOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show a job and its tasks."""
    from iris_adapters.cli.tables import print_json, print_table

    with job_client(url, token, config, prefix) as client:
        info = client.get(job)
        tasks = client.tasks(job)
    if output is Output.JSON:
        print_json({**_job_values(info), "tasks": [asdict(task) for task in tasks]})
        return
    say(f"{info.job_id}: {info.status}: {info.message}")
    rows = [(task.index, task.state, task.worker_id, task.exit_code, task.pending_reason) for task in tasks]
    if rows:
        print_table(("TASK", "STATE", "WORKER", "EXIT", "WAITS FOR"), rows)


@app.command()
def logs(
    job: JobArgument,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")] = False,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ClusterOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Print what a job has printed."""
    with job_client(url, token, config, prefix) as client:
        if follow:
            for line in client.follow(job):
                say(line)
        else:
            typer.echo(client.logs(job), nl=False)


@app.command()
def stop(
    job: JobArgument,
    *,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ClusterOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Have a job stopped."""
    with job_client(url, token, config, prefix) as client:
        note("It is being stopped." if client.stop(job) else "It had ended already.")


def _resources(options: Sequence[str], tpus: int | None) -> dict[str, float]:
    resources: dict[str, float] = {}
    for option in options:
        name, _, amount = option.rpartition("=")
        try:
            resources[name] = float(amount)
        except ValueError as error:
            raise typer.BadParameter(f"{option!r} is not NAME=AMOUNT", param_hint="--resource") from error
    if tpus is not None:
        resources[TPU_RESOURCE] = tpus
    return resources


def _job_values(job: JobInfo) -> dict[str, Any]:
    """For programs. The runtime environment is left out: it may hold secrets."""
    return {
        "job_id": job.job_id,
        "status": job.status,
        "message": job.message,
        "entrypoint": job.entrypoint,
        "submitted_at": _time(job.start_time_ms),
        "ended_at": _time(job.end_time_ms),
        "exit_code": job.exit_code,
        "metadata": dict(job.metadata),
    }


def _time(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")
