"""A Google Cloud behind the commands that iris gives to gcloud: in memory, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from iris_core.errors import InventoryError, ResourceExistsError, ResourceNotFoundError
from tests.unit.gcloud.payload_builders import ZONE, instance, node

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class ScriptedGcloud:
    """Implements `GcloudRunner` over its own instances and nodes, and refuses commands that iris has no business giving.

    Attributes:
        instances: by name, as gcloud prints them.
        nodes: by name, as gcloud prints them.
        attributes: what `get-guest-attributes` answers, by resource name.
        commands: every command, in order.
        changes: the verbs of those that were given as changing something.
        files: what the files of `--metadata-from-file` held, by metadata key, of the last creation.
        before: called with every command before it is carried out; may raise, or change the cloud.
        closed: how often `close` was called.
    """

    def __init__(
        self,
        *,
        instances: Sequence[dict[str, object]] = (),
        nodes: Sequence[dict[str, object]] = (),
        attributes: Mapping[str, Sequence[Mapping[str, object]]] | None = None,
    ) -> None:
        self.instances = {str(payload["name"]): payload for payload in instances}
        self.nodes = {str(payload["name"]).rsplit("/", 1)[-1]: payload for payload in nodes}
        self.attributes = dict(attributes or {})
        self.commands: list[list[str]] = []
        self.changes: list[str] = []
        self.files: dict[str, str] = {}
        self.before: Callable[[Sequence[str]], None] = lambda _argv: None
        self.closed = 0

    def run(self, argv: Sequence[str], *, changes: bool = False) -> str:
        """See `GcloudRunner`."""
        self.commands.append(list(argv))
        words = [word for word in argv if not word.startswith("--")]
        is_tpu = words[:3] == ["compute", "tpus", "tpu-vm"]
        assert is_tpu or words[:2] == ["compute", "instances"], words
        verb, *names = words[3:] if is_tpu else words[2:]
        if changes:
            self.changes.append(verb)
        self.before(argv)
        return json.dumps(self._answer(verb, names, argv, is_tpu=is_tpu))

    def close(self) -> None:
        """Counted."""
        self.closed += 1

    def verbs(self) -> list[str]:
        """What was done (`list`, `create` …), in order."""
        return [next(word for word in argv[2:] if word not in ("tpu-vm", "tpus")) for argv in self.commands]

    def option(self, name: str) -> str:
        """The value of an option of the last command that had it."""
        for argv in reversed(self.commands):
            for word in argv:
                if word.startswith(f"--{name}="):
                    return word.partition("=")[2]
        raise KeyError(name)

    def _answer(self, verb: str, names: Sequence[str], argv: Sequence[str], *, is_tpu: bool) -> object:
        resources = self.nodes if is_tpu else self.instances
        if verb == "list":
            return list(resources.values())  # all of them: a filter of gcloud's is nothing to rely on
        (name,) = names
        if verb == "create":
            if name in resources:
                raise ResourceExistsError(f"{name} already exists")
            self._read_files(argv)
            labels = dict(pair.split("=", 1) for pair in self._option(argv, "labels").split(","))
            resources[name] = node(name, labels=labels) if is_tpu else instance(name, labels=labels)
            return resources[name] if is_tpu else [resources[name]]
        if name not in resources:
            parent = f"locations/{ZONE}/nodes" if is_tpu else f"zones/{ZONE}/instances"
            raise ResourceNotFoundError("It is not there", detail=f"'projects/p/{parent}/{name}' was not found")
        if verb == "get-guest-attributes":
            return self.attributes.get(name, [])
        if verb == "get-serial-port-output":
            return {"contents": f"{name} boots\n", "next": "18", "start": "0"}
        if verb == "describe":
            return resources[name]
        if verb == "delete":
            del resources[name]
        elif verb in ("start", "resume"):
            resources[name] = {**resources[name], "status": "STAGING"}
        else:
            raise InventoryError(f"nobody scripted {verb}")
        return []

    def _read_files(self, argv: Sequence[str]) -> None:
        pairs = (pair.split("=", 1) for pair in self._option(argv, "metadata-from-file").split(","))
        self.files = {key: Path(file).read_text(encoding="utf-8") for key, file in pairs}

    def _option(self, argv: Sequence[str], name: str) -> str:
        return next(word.partition("=")[2] for word in argv if word.startswith(f"--{name}="))
