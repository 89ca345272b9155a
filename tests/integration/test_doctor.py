"""`iris doctor` through the real gcloud: all is well, and each thing that is not is told apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.iris_process import Iris
from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.gcloud_api import GcloudApi

pytestmark = [pytest.mark.lab, pytest.mark.timeout(200)]


def problems(iris: Iris, config: Path) -> tuple[int, dict[str, int]]:
    done = iris.run("doctor", "-c", config, "-o", "json")
    findings = json.loads(done.stdout)
    return done.returncode, {one["check"]: one["exit_code"] for one in findings if not one["ok"]}


def test_a_healthy_project(gcloud_api: GcloudApi, tmp_path: Path) -> None:
    """Every check passes, and nothing is changed."""
    iris = Iris(gcloud_api, tmp_path)
    done = iris.run("doctor", "-c", iris.config("iris", "me"))
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"ok"}
    assert "credentials are switched off" in done.stdout
    assert {request.method for request in gcloud_api.cloud.requests} == {"GET"}


def test_what_is_wrong_is_told_apart(gcloud_api: GcloudApi, tmp_path: Path) -> None:
    """A zone, an API, an image, a type and a runtime that are not there; the first one's exit code."""
    iris = Iris(gcloud_api, tmp_path)
    disabled = "TPU API has not been used in project 1 before or it is disabled."
    gcloud_api.cloud.faults.fail("GET", "/nodes$", ApiError(403, disabled), times=None)
    absent = "The resource 'projects/cos-cloud/global/images/family/cos-stable' was not found"
    gcloud_api.cloud.faults.fail("GET", "/images/family/", ApiError(404, absent), times=None)
    more = "workers: [{name: tpu, accelerator_type: nonsense, runtime_version: absent}]\n"
    code, found = problems(iris, iris.config("iris", "me", more))
    assert found == {"TPU API": 8, "controller's image": 9, "tpu: accelerator": 9, "tpu: runtime": 9}
    assert code == 8


def test_a_zone_that_is_none(gcloud_api: GcloudApi, tmp_path: Path) -> None:
    """The first problem is that one."""
    iris = Iris(gcloud_api, tmp_path)
    config = iris.config("iris", "me", "workers: []\n")
    config.write_text(config.read_text().replace("us-central1-a", "us-central1-z"))
    code, found = problems(iris, config)
    assert code == 9
    assert next(iter(found)) == "project and zone"
