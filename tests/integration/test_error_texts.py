"""Every way in which Google Cloud and gcloud say no, through the real gcloud: which error it is, what to do, what `iris` exits with."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pytest
from dependency_injector import providers

from iris_adapters.container import open_container
from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.command import GcloudCommand
from iris_core.config import ClusterConfig, GcpConfig, Mode, SshConfig, WorkerGroupConfig
from iris_core.errors import (
    ApiDisabledError,
    CloudUnavailableError,
    InvalidRequestError,
    InventoryError,
    InventoryToolError,
    NotAuthenticatedError,
    OutOfCapacityError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from tests.lab.cloud import ZONE
from tests.lab.gcloud_api import GcloudApi
from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from iris_adapters.container import IrisContainer

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-8", runtime_version="v2-alpha-tpuv5-lite")
AT_ONCE = 6
OF_GCLOUD = 5  # how often gcloud itself makes a TPU request that is answered with a 503
READS, CREATIONS = 4, 6  # how often what is refused for its rate is asked for: see iris_adapters.gcloud.retries


# What iris asks for, and which of its calls is refused.


def find(container: IrisContainer) -> object:
    return container.inventory().find_controller()


def list_slices(container: IrisContainer) -> object:
    return container.inventory().list_slices()


def ensure(container: IrisContainer) -> object:
    return container.inventory().ensure_controller()


def create(container: IrisContainer) -> object:
    return container.inventory().create_slice(GROUP)


def gcloud(*argv: str) -> Callable[[IrisContainer], object]:
    """A command that iris has no reason to give, for what only such a one is told."""
    return lambda container: container.gcloud().run(argv)


FIND = (find, "GET", r"/instances/[^/]*$")
LIST = (list_slices, "GET", "/nodes$")
INSERT = (ensure, "POST", "/instances$")
CREATE = (create, "POST", "/nodes$")
DESCRIBE_NODE = (gcloud("compute", "tpus", "tpu-vm", "describe", "n", f"--zone={ZONE}"), "GET", "/nodes/n$")
DESCRIBE_VM = (gcloud("compute", "instances", "describe", "vm", f"--zone={ZONE}"), "GET", "/instances/vm$")

Call: TypeAlias = "tuple[Callable[[IrisContainer], object], str, str]"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One text.

    Attributes:
        name: of the row.
        call: what is asked for, and the method and the end of the path of the request that is refused.
        answer: the refusal: an HTTP error, or the code and message in which an operation ends.
        error: the class it must become.
        advice: a part of what it must tell to do.
        requests: how often the request is made in all.
        environment: what is different for this gcloud; a value of None takes the variable away, `{keys}` is the
            directory of the fixture.
    """

    name: str
    call: Call
    answer: ApiError | tuple[int | str, str] | None = None
    error: type[InventoryError]
    advice: str
    requests: int = 1
    environment: Mapping[str, str | None] = field(default_factory=dict, hash=False)


NO_CREDENTIALS: Mapping[str, str | None] = {"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": None}

ROWS = [
    Row(  # the first three take longest: gcloud itself waits, and tries again
        name="locked",
        call=LIST,
        error=InventoryToolError,
        advice="gcp.most_gcloud_commands",
        requests=0,
        environment={
            **NO_CREDENTIALS,
            "CLOUDSDK_CONFIG": "{keys}/locked",
            "CLOUDSDK_CORE_ACCOUNT": "somebody@example.com",
        },
    ),
    Row(
        name="Google fails, tpu",
        call=LIST,
        answer=ApiError(503, "The service is currently unavailable."),
        error=CloudUnavailableError,
        advice="status.cloud.google.com",
        requests=OF_GCLOUD,
    ),
    Row(
        name="Google fails, a creation",
        call=CREATE,
        answer=ApiError(503, "The service is currently unavailable."),
        error=CloudUnavailableError,
        advice="status.cloud.google.com",
        requests=OF_GCLOUD,
    ),
    Row(
        name="Google fails, compute",
        call=FIND,
        answer=ApiError(503, "Backend Error"),
        error=CloudUnavailableError,
        advice="status.cloud.google.com",
        requests=READS,
    ),
    Row(
        name="not found, tpu",
        call=DESCRIBE_NODE,
        answer=ApiError(404, "Resource 'projects/p/locations/z/nodes/n' was not found"),
        error=ResourceNotFoundError,
        advice="the zone and the name",
    ),
    Row(
        name="not found, compute",
        call=DESCRIBE_VM,
        answer=ApiError(404, "The resource 'projects/p/zones/z/instances/vm' was not found"),
        error=ResourceNotFoundError,
        advice="the zone and the name",
    ),
    Row(
        name="exists, tpu",
        call=CREATE,
        answer=ApiError(409, "Resource 'projects/p/locations/z/nodes/n' already exists"),
        error=ResourceExistsError,
        advice="label_prefix",
        requests=5,  # each under another name: two processes may create in the same second
    ),
    Row(
        name="exists, compute",
        call=INSERT,
        answer=ApiError(409, "The resource 'projects/p/zones/z/disks/iris-controller-iris' already exists"),
        error=ResourceExistsError,
        advice="label_prefix",
    ),
    Row(
        name="stockout, tpu",
        call=CREATE,
        answer=(8, 'There is no more capacity in the zone "us-central1-a"; you can try in another zone'),
        error=OutOfCapacityError,
        advice="another zone",
    ),
    Row(
        name="stockout, tpu, reserved",
        call=CREATE,
        answer=(8, "Insufficient reserved capacity. Contact customer support to increase your reservation."),
        error=OutOfCapacityError,
        advice="another zone",
    ),
    Row(
        name="stockout, tpu, by HTTP",
        call=CREATE,
        answer=ApiError(429, 'There is no more capacity in the zone "us-central1-a"'),
        error=OutOfCapacityError,
        advice="another zone",
    ),
    Row(
        name="code 8 and a text that nobody knows",
        call=CREATE,
        answer=(8, "Something ran out."),
        error=OutOfCapacityError,
        advice="another zone",
    ),
    Row(
        name="stockout, compute",
        call=INSERT,
        answer=(
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "The zone 'projects/p/zones/z' does not have enough resources available to fulfill the request.",
        ),
        error=OutOfCapacityError,
        advice="another zone",
    ),
    Row(
        name="stockout, compute, by HTTP",
        call=INSERT,
        answer=ApiError(
            503,
            "The zone 'projects/p/zones/z' does not have enough resources available to fulfill the request. '(resource "
            "type:compute)'.",
        ),
        error=OutOfCapacityError,
        advice="another zone",
    ),
    Row(
        name="quota, tpu",
        call=CREATE,
        answer=ApiError(429, "Quota 'TPUV5sPreemptibleLitepod' exhausted. Limit 16 in region us-central1"),
        error=QuotaExceededError,
        advice="iam-admin/quotas",
    ),
    Row(
        name="quota, compute",
        call=INSERT,
        answer=ApiError(403, "Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.", reason="quotaExceeded"),
        error=QuotaExceededError,
        advice="iam-admin/quotas",
    ),
    Row(
        name="rate, tpu, a creation",
        call=CREATE,
        answer=ApiError(429, "Quota limit exceeded: Maximum number of CreateNode requests per minute per project"),
        error=RateLimitedError,
        advice="wait a minute",
        requests=CREATIONS,
    ),
    Row(
        name="rate, tpu, a list",
        call=LIST,
        answer=ApiError(
            429, "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service 'tpu'"
        ),
        error=RateLimitedError,
        advice="wait a minute",
        requests=READS,
    ),
    Row(
        name="rate, compute",
        call=FIND,
        answer=ApiError(
            403,
            "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service 'compute'",
            reason="rateLimitExceeded",
        ),
        error=RateLimitedError,
        advice="wait a minute",
        requests=READS,
    ),
    Row(
        name="permission, tpu",
        call=LIST,
        answer=ApiError(403, "Required 'tpu.nodes.list' permission for 'projects/p/locations/z'"),
        error=PermissionDeniedError,
        advice="Ask for the role",
    ),
    Row(
        name="permission, compute",
        call=INSERT,
        answer=ApiError(403, "Required 'compute.instances.create' permission for 'projects/p/zones/z/instances/n'"),
        error=PermissionDeniedError,
        advice="Ask for the role",
    ),
    Row(
        name="API off, tpu",
        call=LIST,
        answer=ApiError(
            403, "Cloud TPU API has not been used in project 12 before or it is disabled. Enable it by visiting …"
        ),
        error=ApiDisabledError,
        advice="gcloud services enable",
    ),
    Row(
        name="API off, compute",
        call=FIND,
        answer=ApiError(
            403,
            "Compute Engine API has not been used in project 12 before or it is disabled. Enable it by visiting …",
            reason="SERVICE_DISABLED",
        ),
        error=ApiDisabledError,
        advice="gcloud services enable",
    ),
    Row(
        name="no account",
        call=LIST,
        error=NotAuthenticatedError,
        advice="gcloud auth login",
        requests=0,
        environment=NO_CREDENTIALS,
    ),
    Row(
        name="an account without credentials",
        call=LIST,
        error=NotAuthenticatedError,
        advice="gcloud auth login",
        requests=0,
        environment={**NO_CREDENTIALS, "CLOUDSDK_CORE_ACCOUNT": "somebody@example.com"},
    ),
    Row(
        name="credentials that are no longer good",
        call=FIND,
        answer=ApiError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token"),
        error=NotAuthenticatedError,
        advice="gcloud auth login",
    ),
    Row(
        name="unknown zone, tpu",
        call=LIST,
        answer=ApiError(403, "Permission denied on 'locations/mars-a' (or it may not exist)."),
        error=ResourceNotFoundError,
        advice="gcp.zone",
    ),
    Row(
        name="unknown zone, compute",
        call=FIND,
        answer=ApiError(400, "Invalid value for field 'zone': 'mars-a'. Unknown zone."),
        error=ResourceNotFoundError,
        advice="gcp.zone",
    ),
    Row(
        name="image not found",
        call=INSERT,
        answer=ApiError(404, "The resource 'projects/cos-cloud/global/images/family/cos-stale' was not found"),
        error=ResourceNotFoundError,
        advice="controller.image_family",
    ),
    Row(
        name="runtime not found",
        call=CREATE,
        answer=ApiError(404, "Resource 'projects/p/locations/z/runtimeVersions/v9' was not found"),
        error=ResourceNotFoundError,
        advice="workers.runtime_version",
    ),
    Row(
        name="invalid, tpu",
        call=CREATE,
        answer=ApiError(400, "Invalid accelerator type: v9-1"),
        error=InvalidRequestError,
        advice="accelerator-types list",
    ),
    Row(
        name="invalid, compute",
        call=INSERT,
        answer=ApiError(400, "Invalid value for field 'resource.machineType': 'e9-huge'. It does not exist."),
        error=InvalidRequestError,
        advice="machine-types list",
    ),
    Row(
        name="gcloud does not know the option",
        call=(gcloud("compute", "instances", "create", "vm", "--from-the-future=1"), "POST", "/instances$"),
        error=InventoryToolError,
        advice="gcloud components update",
        requests=0,
    ),
    Row(
        name="gcloud does not know the command",
        call=(gcloud("compute", "tpus", "frobnicate"), "GET", "/nodes$"),
        error=InventoryToolError,
        advice="gcloud components update",
        requests=0,
    ),
    Row(
        name="no gcloud",
        call=LIST,
        error=InventoryToolError,
        advice="cloud.google.com/sdk/docs/install",
        requests=0,
        environment={"PATH": "/nowhere"},
    ),
]


@contextmanager
def opened(
    api: GcloudApi, project: str, directory: Path, environment: Mapping[str, str | None]
) -> Iterator[IrisContainer]:
    """The container of a cluster in a project of its own, whose pauses take no time."""
    config = ClusterConfig(
        mode=Mode.GCP,
        gcp=GcpConfig(project_id=project, zone=ZONE, ssh=SshConfig(user="me", key_file=str(directory / "key"))),
    )
    merged = {**api.environment, **environment}
    command = GcloudCommand(
        project,
        FakeClock(auto_advance=True),
        environment={name: value.format(keys=directory) for name, value in merged.items() if value is not None},
    )
    with ExitStack() as stack:
        stack.callback(command.close)
        container = stack.enter_context(open_container(config))
        container.gcloud.override(providers.Object(command))
        yield container


def refuse(api: GcloudApi, row: Row, project: str) -> None:
    _, method, path = row.call
    where = f"/projects/{project}/.*{path}"
    if isinstance(row.answer, ApiError):
        api.cloud.faults.fail(method, where, row.answer, times=None)
    elif row.answer is not None:
        code, message = row.answer
        api.cloud.faults.fail_operation(method, where, code, message, times=None)


def check(api: GcloudApi, row: Row, project: str, directory: Path) -> str:
    """What is wrong with a row; empty if nothing is."""
    ask, method, path = row.call
    refuse(api, row, project)
    try:
        with opened(api, project, directory, row.environment) as container:
            answer = ask(container)
    except InventoryError as error:
        caught = error
    else:
        return f"{row.name}: no error, but {answer!r}"
    refused = re.compile(f"/projects/{project}/.*{path}")
    made = sum(request.method == method and bool(refused.search(request.path)) for request in api.cloud.requests)
    seen = (type(caught), row.advice in str(caught), made)
    return "" if seen == (row.error, True, row.requests) else f"{row.name}: {seen}\n{caught}"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcloudApi]:
    with GcloudApi(tmp_path_factory.mktemp("api")) as whole:
        yield whole


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an SSH key pair for new VMs."""
    directory = tmp_path_factory.mktemp("keys")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "key"], check=True)
    return directory


@pytest.fixture
def locked_credentials(keys: Path) -> Iterator[None]:
    """Let somebody hold the database of the configuration `locked` for longer than gcloud and iris wait."""
    (keys / "locked").mkdir()
    with closing(sqlite3.connect(keys / "locked" / "credentials.db", isolation_level=None)) as database:
        database.execute("CREATE TABLE held (by_somebody)")
        database.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.usefixtures("locked_credentials")
def test_every_text_is_told_apart(api: GcloudApi, keys: Path) -> None:
    """The class and the advice of each; and what trying again cannot help is asked for once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = list(pool.map(lambda item: check(api, item[1], f"row-{item[0]}", keys), enumerate(ROWS)))
    assert [problem for problem in problems if problem] == []


def iris(api: GcloudApi, row: Row, project: str, directory: Path) -> str:
    """What is wrong with how `iris` ends where a row's text is met; empty if nothing is."""
    refuse(api, row, project)
    file = directory / f"{project}.yaml"
    file.write_text(
        f"mode: gcp\ngcp: {{project_id: {project}, zone: {ZONE}, ssh: {{user: me, key_file: {directory / 'key'}}}}}\n",
        encoding="utf-8",
    )
    environment = {**api.environment, **row.environment}
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "from iris_adapters.cli.main import main; main()",
            "up" if row.call == INSERT else "status",
            f"--config={file}",
        ],
        env={name: value for name, value in environment.items() if value is not None},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seen = (ended.returncode, row.advice in ended.stderr, "Traceback" in ended.stderr)
    return "" if seen == (row.error.exit_code, True, False) else f"{row.name}: {seen}\n{ended.stderr}"


def test_iris_exits_with_the_code_of_the_error_and_says_what_to_do(api: GcloudApi, keys: Path) -> None:
    """One text of each class, through the whole command line: no traceback, the advice, the code."""
    rows = {row.error: row for row in ROWS if row.call in (FIND, LIST, INSERT) and row.requests <= READS}
    assert rows.keys() == {row.error for row in ROWS}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        problems = list(pool.map(lambda row: iris(api, row, f"exit-{row.error.exit_code}", keys), rows.values()))
    assert [problem for problem in problems if problem] == []
