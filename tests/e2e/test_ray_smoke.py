"""`iris smoke-test` on a cluster whose hosts run Ray: the real gcloud, SSH, Docker and Ray, in the lab."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from iris_core.log_reader import read_payloads
from tests.lab.ray import needs_ray, ray_config_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.ray, needs_ray, pytest.mark.timeout(700)]


def test_the_smoke_test_passes(networked_lab: Lab, tmp_path: Path) -> None:
    """Three of three, and what each replica printed is in the landed file of the host that ran it."""
    logs = tmp_path / "logs"
    command = [
        f"{sys.prefix}/bin/iris",
        "smoke-test",
        f"--config={ray_config_file(tmp_path)}",
        f"--log-dir={logs}",
    ]
    done = subprocess.run(
        command, env=networked_lab.environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "3/3 checks passed" in done.stdout
    landed = list((logs / "workers").glob("*.txt"))
    assert len(landed) == 3
    assert all(any(b"joining the Ray head at" in payload for _, payload in read_payloads(path)) for path in landed)
    assert networked_lab.cloud.list("instances") == networked_lab.cloud.list("nodes") == []
