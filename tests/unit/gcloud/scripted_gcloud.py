"""A Google Cloud behind the commands that iris gives to gcloud: in memory, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from iris_core.errors import InventoryError, InventoryToolError, ResourceExistsError, ResourceNotFoundError
from tests.unit.gcloud.payload_builders import ZONE, instance, node, queued_resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PARENTS = {
    "instances": f"zones/{ZONE}/instances",
    "tpu-vm": f"locations/{ZONE}/nodes",
    "queued-resources": f"locations/{ZONE}/queuedResources",
}


class ScriptedGcloud:
    """Implements `GcloudRunner` over its own instances and nodes, and refuses commands that iris has no business giving.

    Attributes:
        instances: by name, as gcloud prints them.
        nodes: by name, as gcloud prints them.
        queued: queued resources by name, as gcloud prints them.
        account: what gcloud acts as, None where it has none.
        attributes: what `get-guest-attributes` answers, by resource name.
        consoles: what a console has, by the instance's name; one that is not here has a line.
        commands: every command, in order.
        changes: the verbs of those that were given as changing something.
        files: what the files of `--metadata-from-file` held, by metadata key, of the last creation.
        before: called with every command before it is carried out; may raise, or change the cloud.
        called_off: how often `call_off` was called.
        closed: how often `close` was called.
    """

    def __init__(
        self,
        *,
        instances: Sequence[dict[str, object]] = (),
        nodes: Sequence[dict[str, object]] = (),
        queued: Sequence[dict[str, object]] = (),
        account: str | None = None,
        attributes: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    ) -> None:
        self.instances = {str(payload["name"]): payload for payload in instances}
        self.nodes = {str(payload["name"]).rsplit("/", 1)[-1]: payload for payload in nodes}
        self.queued = {str(payload["name"]).rsplit("/", 1)[-1]: payload for payload in queued}
        self.account = account
        self.attributes = dict(attributes or {})
        self.consoles: dict[str, str] = {}
        self.commands: list[list[str]] = []
        self.changes: list[str] = []
        self.files: dict[str, str] = {}
        self.before: Callable[[Sequence[str]], None] = lambda _argv: None
        self.called_off = 0
        self.closed = 0

    def run(self, argv: Sequence[str], *, changes: bool = False, era: int | None = None) -> str:
        """See `GcloudRunner`."""
        if changes and era not in (None, self.called_off):
            raise InventoryToolError("It was given up; it may still happen.")
        self.commands.append(list(argv))
        words = [word for word in argv if not word.startswith("--")]
        if words[0] == "config":
            assert words == ["config", "get", "account"]
            self.before(argv)
            return json.dumps(self.account or [])
        is_tpu = words[:2] == ["compute", "tpus"]
        kind, verb, *names = words[2:] if is_tpu else words[1:]
        if changes:
            self.changes.append(verb)
        self.before(argv)
        return json.dumps(self._answer(kind, verb, names, argv))

    def era(self) -> int:
        """See `GcloudRunner`."""
        return self.called_off

    def call_off(self) -> None:
        """See `GcloudRunner`. Nothing runs."""
        self.called_off += 1

    def close(self) -> None:
        """Counted."""
        self.closed += 1

    def verbs(self) -> list[str]:
        """What was done (`list`, `create` …), in order."""
        kinds = ("queued-resources", "tpu-vm", "tpus")
        return [next(word for word in argv[2:] if word not in kinds) for argv in self.commands]

    def option(self, name: str) -> str:
        """The value of an option of the last command that had it."""
        for argv in reversed(self.commands):
            for word in argv:
                if word.startswith(f"--{name}="):
                    return word.partition("=")[2]
        raise KeyError(name)

    def _answer(self, kind: str, verb: str, names: Sequence[str], argv: Sequence[str]) -> object:
        resources = {"instances": self.instances, "tpu-vm": self.nodes, "queued-resources": self.queued}[kind]
        if verb == "list":
            return list(resources.values())  # all of them: a filter of gcloud's is nothing to rely on
        (name,) = names
        if verb == "create":
            if name in resources:
                raise ResourceExistsError(f"{name} already exists")
            self._read_files(argv)
            resources[name] = _created(kind, name, self._option(argv, "labels"))
            return [resources[name]] if kind == "instances" else resources[name]
        if name not in resources:
            raise ResourceNotFoundError("It is not there", detail=f"'projects/p/{_PARENTS[kind]}/{name}' was not found")
        answers = {
            "get-guest-attributes": self.attributes.get(name, []),
            "get-serial-port-output": self._console(name),
            "describe": resources[name],
        }
        if verb == "delete":
            del resources[name]
            if kind == "queued-resources":
                assert "--force" in argv, "without it, it fails where there is a node"
                self.nodes.pop(name, None)
        elif verb in ("start", "resume"):
            resources[name] = {**resources[name], "status": "STAGING"}
        elif verb not in answers:
            raise InventoryError(f"nobody scripted {verb}")
        return answers.get(verb, [])

    def _console(self, name: str) -> dict[str, str]:
        """As gcloud prints it: without its contents where they are empty."""
        contents = self.consoles.get(name, f"{name} boots\n")
        return {"next": "18", "start": "0", **({"contents": contents} if contents else {})}

    def _read_files(self, argv: Sequence[str]) -> None:
        pairs = (pair.split("=", 1) for pair in self._option(argv, "metadata-from-file").split(","))
        self.files = {key: Path(file).read_text(encoding="utf-8") for key, file in pairs}

    def _option(self, argv: Sequence[str], name: str) -> str:
        return next(word.partition("=")[2] for word in argv if word.startswith(f"--{name}="))


def _created(kind: str, name: str, labels: str) -> dict[str, object]:
    pairs = dict(pair.split("=", 1) for pair in labels.split(","))
    if kind == "instances":
        return instance(name, labels=pairs)
    return node(name, labels=pairs) if kind == "tpu-vm" else queued_resource(name, labels=pairs)
