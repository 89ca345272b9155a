"""What Ray's own gRPC ports answer to who does not have the cluster's token, as docs/security.md says."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from iris_adapters.controller.wire import JobRequest, JobStatus
from tests.contracts.job_client_cases import ended, ray_case, tasks_when

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.ray_cluster import Node, RayCluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

OF_THE_HEAD = {
    "port": ["NodeInfoGcsService/GetAllNodeInfo", "InternalKVGcsService/InternalKVKeys"],
    "ray-client-server-port": ["RayletDriver/ClusterInfo", "RayletDriver/Init"],
}
OF_EVERY_NODE = {
    "node-manager-port": ["NodeManagerService/GetNodeStats"],
    "object-manager-port": ["ObjectManagerService/Pull", "ObjectManagerService/Push"],
    "dashboard-agent-grpc-port": ["ReporterService/GetTraceback", "LogService/ListLogs"],
}
OF_A_WORKER_PROCESS = ["CoreWorkerService/NumPendingTasks"]


def code_of(port: int, method: str, token: str | None) -> Any:
    """The status code with which a call without a body is answered."""
    import grpc  # noqa: PLC0415 - it comes with Ray

    headers = [] if token is None else [("authorization", f"Bearer {token}")]
    with closing(grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)])) as channel:
        try:
            channel.unary_unary(f"/ray.rpc.{method}")(b"", timeout=20, metadata=headers)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def check(port: int, methods: Iterable[str], token: str) -> None:
    """It refuses who has no token, or a wrong one; who has it is let in, whatever is then said of the call."""
    import grpc  # noqa: PLC0415 - as above

    for method in methods:
        for wrong in (None, "0" * len(token)):
            assert code_of(port, method, wrong) is grpc.StatusCode.UNAUTHENTICATED, (port, method)
        let_in = code_of(port, method, token)
        assert let_in not in {
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }, (port, method)


def worker_processes(node: Node) -> list[int]:
    """The ports on which the node's worker processes listen."""
    return [port for port in range(node.ports["min-worker-port"], node.ports["max-worker-port"] + 1) if is_open(port)]


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_who_has_no_token_is_refused_on_every_grpc_port(ray_cluster: RayCluster) -> None:
    """On those of the head, of a worker's host, and of a process there that runs a replica."""
    assert ray_cluster.head is not None
    worker = ray_cluster.workers["b-w0"]
    for option, methods in OF_THE_HEAD.items():
        check(ray_cluster.head.ports[option], methods, ray_cluster.token)
    for node in (ray_cluster.head, worker):
        for option, methods in OF_EVERY_NODE.items():
            check(node.ports[option], methods, ray_cluster.token)
    with ray_case(ray_cluster).client() as client:
        job_id = client.submit(JobRequest(entrypoint="sleep 1000", slice_name="b"))
        tasks_when(client, job_id, lambda tasks: tasks[0].state is JobStatus.RUNNING)
        ports = worker_processes(worker)
        assert ports
        for port in ports:
            check(port, OF_A_WORKER_PROCESS, ray_cluster.token)
        client.stop(job_id)
        ended(client, job_id)
