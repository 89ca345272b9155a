"""A Ray of a few objects, for the driver: nodes that die, actors that play what a test says, and time that passes turn by turn.

It stands in for the modules of Ray that the driver imports, so that this can be tried where Ray is not installed. What a real Ray does
is tried in tests/integration/test_ray_jobs.py.
"""

from __future__ import annotations

import importlib
import signal
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from iris_core.ray_names import SLICE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

_MOST_TURNS = 2000
_TURN_SECONDS = 0.25
_PACKAGE = "iris_adapters.controller.ray_job"


class RayError(Exception):
    """As Ray's."""


class ActorUnavailableError(RayError):
    """As Ray's."""


@dataclass
class Node:
    """A node; `is_dead` is the truth, `is_known_dead` what Ray has noticed of it."""

    name: str
    slice_name: str | None = "a"
    is_dead: bool = False
    is_known_dead: bool = False

    def die(self) -> None:
        """It is gone; Ray does not know yet."""
        self.is_dead = True


@dataclass(eq=False)
class Question:
    """What a remote call returns. `answer` gives None as long as there is none, or raises."""

    answer: Callable[[], Any]

    def is_ready(self) -> bool:
        try:
            return self.answer() is not None
        except RayError:
            return True


@dataclass(eq=False)
class Actor:
    """A replica: what it prints and how it ends is the test's to say."""

    node: Node
    lines: list[str] = field(default_factory=list)
    exit_code: int | None = None
    spec: dict[str, Any] | None = None
    is_killed: bool = False
    is_unreachable: bool = False

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=object.__getattribute__(self, f"_{name}"))

    @property
    def runs(self) -> bool:
        """Whether its command has been started and it is still there."""
        return self.spec is not None and not self.is_killed

    @property
    def index(self) -> int:
        """The index that it was started with."""
        assert self.spec is not None
        return int(self.spec["env"]["IRIS_TASK_INDEX"])

    def _node_id(self) -> Question:
        return self._question(lambda: self.node.name)

    def _start(self, _source: str, spec: dict[str, Any], _drop: list[str], _variable: str) -> None:
        self.spec = spec

    def _poll(self, position: int, _seconds: float) -> Question:
        def answer() -> Any:
            if self.lines[position:]:
                return self.lines[position:], None
            return None if self.exit_code is None else ([], self.exit_code)

        return self._question(answer)

    def _stop(self) -> None:
        if self.exit_code is None and not self.node.is_dead:
            self.exit_code = -15

    def _question(self, answer: Callable[[], Any]) -> Question:
        def ask() -> Any:
            if self.is_unreachable:
                raise ActorUnavailableError("try again")
            if self.is_killed or self.node.is_known_dead:
                raise RayError("The actor died unexpectedly")
            return None if self.node.is_dead else answer()

        return Question(ask)


class FakeRay:
    """The cluster, and the modules that stand for it once `install` has put them in place.

    Args:
        nodes: the names of the hosts of the slice `a`.

    Attributes:
        actors: every actor that was made, in order.
        cannot_start: whether actors die before they have told where they are.
    """

    def __init__(self, *nodes: str) -> None:
        self.nodes = {name: Node(name) for name in nodes}
        self.actors: list[Actor] = []
        self.cannot_start = False
        self._script: Iterator[None] = iter(())
        self._now = 0.0
        self._turns = 0

    @property
    def running(self) -> list[Actor]:
        """The actors whose commands run, by index."""
        return sorted((actor for actor in self.actors if actor.runs), key=lambda actor: actor.index)

    def plays(self, script: Iterator[None]) -> None:
        """What happens: each `yield` gives the driver a turn."""
        self._script = script

    def install(self, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
        """Put it in Ray's place and import the driver over it."""
        modules: dict[str, dict[str, Any]] = {
            "ray": {
                "get": lambda question: question.answer(),
                "wait": self._wait,
                "kill": self._kill,
                "nodes": self._nodes,
            },
            "ray.cloudpickle": {"register_pickle_by_value": lambda _module: None},
            "ray.exceptions": {"RayError": RayError, "ActorUnavailableError": ActorUnavailableError},
            "ray._private": {},
            "ray._private.state": {"available_resources_per_node": lambda: {name: {"CPU": 1.0} for name in self.nodes}},
            "ray.util": {},
            "ray.util.placement_group": {
                "placement_group": lambda bundles, **_: SimpleNamespace(size=len(bundles), wait=lambda _seconds: None),
                "placement_group_table": self._table,
                "remove_placement_group": lambda _group: None,
            },
            "ray.util.scheduling_strategies": {"PlacementGroupSchedulingStrategy": self._strategy},
        }
        for name, contents in modules.items():
            module = ModuleType(name)
            module.__dict__.update(contents)
            monkeypatch.setitem(sys.modules, name, module)
        ray: Any = sys.modules["ray"]
        ray.remote = lambda _class: SimpleNamespace(options=self._options)
        ray.cloudpickle = sys.modules["ray.cloudpickle"]
        driver = importlib.import_module(f"{_PACKAGE}.driver")
        clock = SimpleNamespace(monotonic=lambda: self._now, sleep=self._pass)
        package = sys.modules[_PACKAGE]
        for name in ("replica", "placing", "doubt", "driver"):  # forgotten again: the next test has a Ray of its own
            module = sys.modules.pop(f"{_PACKAGE}.{name}")
            delattr(package, name)
            if hasattr(module, "time"):
                monkeypatch.setattr(module, "time", clock)
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        return driver

    def _pass(self, seconds: float) -> None:
        self._turns += 1
        assert self._turns < _MOST_TURNS, "the driver does not end"
        self._now += seconds
        next(self._script, None)

    def _wait(self, questions: Sequence[Question], *, num_returns: int = 1, timeout: float = 0) -> Any:
        if timeout and not any(question.is_ready() for question in questions):
            self._pass(timeout)
        ready = [question for question in questions if question.is_ready()][:num_returns]
        return ready, [question for question in questions if question not in ready]

    def _kill(self, actor: Actor) -> None:
        actor.is_killed = True

    def _nodes(self) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": node.name,
                "NodeName": node.name,
                "Alive": not node.is_known_dead,
                "Resources": {"CPU": 1.0},
                "Labels": {} if node.slice_name is None else {SLICE_LABEL: node.slice_name},
            }
            for node in self.nodes.values()
        ]

    def _table(self, group: Any) -> dict[str, str]:
        free = [node for node in self.nodes.values() if not node.is_known_dead]
        return {"state": "CREATED" if len(free) >= group.size else "PENDING"}

    def _strategy(self, _group: Any, *, placement_group_bundle_index: int) -> int:
        return placement_group_bundle_index

    def _options(self, **options: Any) -> Any:
        def make() -> Actor:
            places = [node for node in self.nodes.values() if not node.is_known_dead]
            place = options["scheduling_strategy"]
            # Not in the order of the names: Ray promises none.
            index = -1 - place if isinstance(place, int) else len(self.actors) % len(places)
            self.actors.append(Actor(places[index], is_killed=self.cannot_start))
            return self.actors[-1]

        return SimpleNamespace(remote=make)
