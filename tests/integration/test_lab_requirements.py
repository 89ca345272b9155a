"""What tests marked `lab` do on a machine without a lab."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_LAB_TEST = "tests/integration/test_lab_api.py::test_each_creation_has_a_number_of_its_own"


@pytest.mark.parametrize(("required", "status", "outcome"), [("0", 0, "1 skipped"), ("1", 1, "1 error")])
def test_a_machine_without_gcloud(required: str, status: int, outcome: str) -> None:
    """Without gcloud a lab test is skipped, or fails where a lab is required; either way it says what is missing."""
    environment = {**os.environ, "PATH": "/nowhere", "IRIS_REQUIRE_LAB": required}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", _LAB_TEST]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == status
    assert outcome in done.stdout
    assert "no lab here: gcloud (the Google Cloud CLI) is not on PATH" in done.stdout
