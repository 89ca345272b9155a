"""In-memory implementations of the three ports, for tests: yours too. They hold state, record effects, and never mock."""

from iris_adapters.fakes.builders import make_controller, make_host, make_queued_slice, make_slice
from iris_adapters.fakes.clock import FakeClock
from iris_adapters.fakes.docker_container import FakeContainer, LogEntry
from iris_adapters.fakes.docker_engine import FakeDockerEngine
from iris_adapters.fakes.remote_process import FakeProcess
from iris_adapters.fakes.remote_shell import (
    ExchangeScript,
    FakeCommand,
    FakeForward,
    FakeShell,
    ProcessHandler,
    RunScript,
    StartScript,
)
from iris_adapters.fakes.vm_inventory import FakeInventory, InventoryCall

__all__ = [
    "ExchangeScript",
    "FakeClock",
    "FakeCommand",
    "FakeContainer",
    "FakeDockerEngine",
    "FakeForward",
    "FakeInventory",
    "FakeProcess",
    "FakeShell",
    "InventoryCall",
    "LogEntry",
    "ProcessHandler",
    "RunScript",
    "StartScript",
    "make_controller",
    "make_host",
    "make_queued_slice",
    "make_slice",
]
