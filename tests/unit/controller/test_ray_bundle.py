"""The program that travels with a job: it must be whole, and run where there is only Ray."""

from __future__ import annotations

import ast
import base64
import json
import subprocess
import sys
import zlib
from typing import Any

import pytest

from iris_adapters.controller.ray_job.bundle import VARIABLE, pack, unpack

OLDEST_PYTHON = (3, 10)
JOB = {"job_id": "mine", "env": {"A": "b"}}


def packed() -> dict[str, Any]:
    _, env_vars = pack(JOB, "true")
    content: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(env_vars[VARIABLE])))
    return content


def sources() -> dict[str, str]:
    content = packed()
    return {**content["modules"], "boot": content["boot"], "keeper": content["keeper"]}


@pytest.mark.parametrize("name", sorted(sources()))
def test_it_imports_nothing_that_is_not_there(name: str) -> None:
    """Only Ray, the standard library, and what travels with it; and no syntax that is younger than the oldest Python."""
    imported = set()
    for node in ast.walk(ast.parse(sources()[name], feature_version=OLDEST_PYTHON)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            imported |= inner & sources().keys() or {node.module}

    foreign = {module for module in imported if module.partition(".")[0] not in {*sys.stdlib_module_names, "ray"}}
    assert foreign <= sources().keys()


def test_it_can_be_imported_without_iris_or_anything_else() -> None:
    """A bare Python, which has no site-packages, finds the modules by the finder alone."""
    program = """
import json, sys
content = json.loads(sys.stdin.read())
boot = {}
exec(content["boot"], boot)
sys.meta_path.insert(0, boot["_Sources"](content["modules"]))
from iris_adapters.controller.ray_job.reasons import Demand, why_pending
from iris_adapters.controller.ray_job.tasks import Tasks
print(why_pending([], Demand(1, {"CPU": 1})).reason, Tasks(1, gang=False, retries=0).report()["status"])
"""

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        input=json.dumps(packed()),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout == "needs a host with CPU=1; no worker has joined PENDING\n"


@pytest.mark.parametrize("command", ["true", "python 'a b.py'", 'echo "$X" \\\n  | cat', "it's"])
def test_job_and_command_come_back(command: str) -> None:
    """Whatever the shell makes of it."""
    entrypoint, env_vars = pack(JOB, command)

    job, unpacked = unpack(entrypoint, env_vars)

    assert (job["job_id"], job["env"], unpacked) == ("mine", {"A": "b"}, command)


def test_the_packed_program_is_small() -> None:
    """It is sent with every job, and comes back with every look at one."""
    _, env_vars = pack(JOB, "true")

    assert len(env_vars[VARIABLE]) < 24_000
