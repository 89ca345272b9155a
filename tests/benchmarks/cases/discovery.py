"""What one look at the cloud costs: 1, 100 and 1,000 listed hosts, by the real gcloud before a pretended API, and reading alone."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.command import GcloudCommand
from iris_adapters.gcloud.inventory import GcloudInventory
from iris_adapters.gcloud.json_shape import parse_objects
from iris_adapters.gcloud.payloads import slice_from_node
from iris_adapters.system_clock import SystemClock
from iris_core.config import ClusterConfig, GcpConfig, Mode, Route
from iris_core.labels import managed_label
from tests.benchmarks.results import CaseResult, Table
from tests.lab.cloud import PROJECT, ZONE
from tests.lab.gcloud_api import GcloudApi

if TYPE_CHECKING:
    from pathlib import Path

    from iris_core.model import Slice

_HOSTS_OF_A_SLICE: Final = 8
_ROUNDS: Final = 3
_TEXT: Final = """\
`list_slices()`: one `gcloud compute tpus tpu-vm list` whatever the number of slices, of eight hosts each. CPU is gcloud's and
iris's together, the pretended API's not, the fastest of some rounds; "reading" is what iris itself does with the JSON."""


def run(directory: Path) -> CaseResult:
    """Measure it: about half a minute."""
    rows = []
    for hosts in (1, 100, 1000):
        place = directory / str(hosts)
        place.mkdir()
        with GcloudApi(place) as api:
            _fill(api, hosts)
            before = _questions(api)
            seconds, cpu = min(_look(api, hosts) for _ in range(_ROUNDS))
            asked = (_questions(api) - before) / _ROUNDS
            reading = min(_read(api) for _ in range(_ROUNDS))
        rows.append([f"{hosts:,}", f"{asked:g}", f"{seconds:.2f}", f"{cpu:.2f}", f"{reading * 1000:.1f}"])
    return CaseResult(
        title="Discovery",
        text=_TEXT,
        tables=[Table(["hosts listed", "questions to the API", "seconds", "CPU, s", "reading, ms"], rows)],
    )


def _fill(api: GcloudApi, hosts: int) -> None:
    labels = {managed_label("iris"): "true"}
    whole, rest = divmod(hosts, _HOSTS_OF_A_SLICE)
    for number in range(whole):
        api.add_node(f"iris-tpu-{number:04}", accelerator_type=f"v5litepod-{4 * _HOSTS_OF_A_SLICE}", labels=labels)
    if rest:
        api.add_node("iris-tpu-rest", accelerator_type=f"v5litepod-{4 * rest}", labels=labels)


def _look(api: GcloudApi, hosts: int) -> tuple[float, float]:
    """Seconds and CPU seconds."""
    clock = SystemClock()
    config = ClusterConfig(mode=Mode.GCP, gcp=GcpConfig(project_id=PROJECT, zone=ZONE))
    gcloud = GcloudCommand(PROJECT, clock, environment=api.environment)
    inventory = GcloudInventory(
        config, gcloud, clock, owner=lambda: "joe", ssh_public_key=lambda: "ssh-ed25519 AAAA joe", ssh_user="joe"
    )
    try:
        began, cpu = time.monotonic(), _cpu_seconds()
        slices = inventory.list_slices()
        seconds, spent = time.monotonic() - began, _cpu_seconds() - cpu
    finally:
        inventory.close()
    found = sum(len(one.hosts) for one in slices)
    if found != hosts:
        raise RuntimeError(f"{found} hosts were found instead of {hosts}")
    return seconds, spent


def _questions(api: GcloudApi) -> int:
    return len(api.cloud.requests)


def _cpu_seconds() -> float:
    """Of this thread, and of the programs that were waited for: the pretended API has threads of this process, too."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.thread_time() + children.ru_utime + children.ru_stime


def _read(api: GcloudApi) -> float:
    """Seconds to make slices of what gcloud prints."""
    text = api.gcloud("compute", "tpus", "tpu-vm", "list", f"--zone={ZONE}", "--format=json").stdout
    began = time.perf_counter()
    slices: list[Slice] = [
        slice_from_node(node, label_prefix="iris", route=Route.EXTERNAL) for node in parse_objects(text, "the nodes")
    ]
    seconds = time.perf_counter() - began
    if not slices:
        raise RuntimeError("nothing was listed")
    return seconds
