"""What the entrypoint runs on the head: it makes the modules that came with the job importable, and hands over to the driver.

It is `exec`ed, with no name of its own to import: `iris` need not be installed there, and if it is, in whatever version, the modules
that came with the job are taken all the same.
"""

from __future__ import annotations

import base64
import importlib.abc
import importlib.machinery
import json
import os
import sys
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType


_JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray 2.60, JobSupervisor: what `ray.init` takes over in a driver


class _Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports modules from their texts."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self._sources = sources
        self._packages: set[str] = set()
        for name in sources:
            while name := name.rpartition(".")[0]:
                self._packages.add(name)

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._sources and name not in self._packages:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=name in self._packages)

    def get_source(self, name: str) -> str:
        return self._sources.get(name, "")

    def is_package(self, name: str) -> bool:
        return name in self._packages


def main(variable: str, command: str) -> None:
    """Unpack what is in the environment variable and run the command line as a job."""
    packed: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(os.environ.pop(variable))))
    sys.meta_path.insert(0, _Sources(packed["modules"]))
    if _JOB_CONFIG in os.environ:
        # The job's variables are for this driver alone. Without them the replicas' actors get workers that Ray has started already.
        os.environ[_JOB_CONFIG] = json.dumps({**json.loads(os.environ[_JOB_CONFIG]), "runtime_env": {}})
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"  # else Ray's C++ side writes warnings into the job's log
    from iris_adapters.controller.ray_job.driver import main as drive  # noqa: PLC0415 - now it is there

    drive(packed["job"], command, packed["keeper"])
