"""How `iris job` reaches a controller: by URL and token, or through a tunnel to a configuration's cluster. Starts nothing."""

# ruff: noqa: PLC0415 - `iris --help` is to import nothing heavy

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from iris_adapters.cli.common import config_option, open_cluster, read_gcp_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iris_adapters.controller.client import JobClient

_NOT_ALLOWED = (401, 403)


@contextmanager
def refused_before_it_is_sent(option: str | None = None) -> Iterator[None]:
    """What the job API's own checks refuse in this context is wrong on the command line."""
    from iris_core.errors import JobApiError

    try:
        yield
    except JobApiError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _checked_job_id(job_id: str) -> str:
    from iris_adapters.controller.wire import check_job_id

    with refused_before_it_is_sent("JOB"):
        check_job_id(job_id)
    return job_id


JobArgument: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", callback=_checked_job_id)]

UrlOption: TypeAlias = Annotated[
    str | None, typer.Option(envvar="IRIS_URL", metavar="URL", help="The controller, as `iris connect` prints it.")
]
TokenOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="IRIS_TOKEN",
        metavar="TOKEN",
        help="Its token; better in the environment, where other users cannot see it.",
    ),
]
ClusterOption: TypeAlias = Annotated[Path | None, config_option("Or, for a URL: the cluster's YAML file.")]


@contextmanager
def job_client(url: str | None, token: str | None, config: Path | None, prefix: str | None) -> Iterator[JobClient]:
    """A client of the controller at the URL, or of the one that the configuration's cluster has. Starts nothing."""
    from iris_adapters.controller.http_api import check_token, check_url

    if token is not None:
        with refused_before_it_is_sent("--token (or IRIS_TOKEN)"):
            check_token(token)
    if url is not None:
        from iris_adapters.controller.client import JobClient

        with refused_before_it_is_sent("--url (or IRIS_URL)"):
            check_url(url)
        with JobClient(url, token) as client, _telling_of_the_token():
            yield client
        return
    if config is None:
        raise typer.BadParameter("one is needed: --url (or IRIS_URL), or --config (or IRIS_CONFIG)", param_hint="--url")
    from iris_core.errors import ControllerNotFoundError
    from iris_core.ray_joining import with_token
    from iris_core.tunnel import open_tunnel

    settings = read_gcp_config(config, prefix)
    with open_cluster(settings) as container:
        controller = container.inventory().find_controller()
        if controller is None:
            raise ControllerNotFoundError(
                f"There is no controller of the cluster {settings.label_prefix} in {settings.project_id}, {settings.zone}: "
                "`iris up` makes one."
            )
        shell, clock = container.shell(), container.clock()
        seconds = settings.gcp.ssh.connect_timeout_seconds if settings.gcp else 0.0
        if token is not None:
            controller = replace(controller, token=token)
        elif settings.controller.container.runs_ray:
            use_sudo, never = settings.logs.use_sudo, threading.Event()
            controller = with_token(shell, clock, controller, use_sudo=use_sudo, timeout_seconds=seconds, give_up=never)
        with (
            open_tunnel(
                shell,
                clock,
                controller,
                timeout_seconds=seconds,
                find_controller=container.inventory().find_controller,
            ) as tunnel,
            container.job_client(tunnel, controller.token) as client,
        ):
            yield client


@contextmanager
def _telling_of_the_token() -> Iterator[None]:
    """The controller speaks of headers to whoever comes without its token, or with another: say how the command takes it."""
    from iris_core.errors import JobApiError

    try:
        yield
    except JobApiError as error:
        if error.status in _NOT_ALLOWED:
            error.add_note("`iris connect` prints the controller's token: give it by IRIS_TOKEN, or --token.")
        raise
