"""Ray in the lab: the lab's image, with this machine's Python and the Ray that runs this test mounted into it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.lab.cloud import PROJECT, ZONE
from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIRE_VARIABLE = "IRIS_REQUIRE_RAY"

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None and os.environ.get(REQUIRE_VARIABLE) != "1",
    reason="needs Ray: UV_PROJECT_ENVIRONMENT=.venv-ray uv run --group ray pytest …",
)

_OBJECT_STORE_BYTES = 80_000_000  # Ray takes no less than 75 MiB


def ray_container(**environment: str) -> Mapping[str, object]:
    """What a section `container` of a configuration is to say, so that iris's own command runs Ray there.

    Python and Ray are read from the machine's directories: an image with them would have to be loaded into each engine, a minute each.
    """
    roots = {Path(sys.prefix), Path(sys.base_prefix).resolve(), Path("/usr"), Path("/lib")}
    roots |= {path for path in (Path("/lib64"), Path("/usr/local")) if path.exists()}
    return {
        "image": IMAGE,
        "env": {
            "PATH": f"{sys.prefix}/bin:/bin:/usr/bin",
            "HOME": "/tmp",
            "IRIS_RAY_OPTIONS": f"--object-store-memory={_OBJECT_STORE_BYTES}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        # Nor are there devices that a privileged container would have to see.
        "docker_args": ["--privileged=false", *(f"--volume={_on_host(root)}:{root}:ro" for root in sorted(roots))],
    }


def _on_host(directory: Path) -> Path:
    """Where a host has the machine's directory: its /root is its own."""
    root = Path("/root")
    return Path("/run/machine-root", directory.relative_to(root)) if directory.is_relative_to(root) else directory


def ray_config_file(directory: Path) -> Path:
    """The file of a cluster with a slice of two hosts and one of one; it says nothing of what they run but where Ray is."""
    container = ray_container()
    group = {"runtime_version": "v2-alpha-tpuv5-lite", "container": container}
    config = {
        "mode": "gcp",
        "gcp": {"project_id": PROJECT, "zone": ZONE, "ssh": {"user": "root"}},
        "controller": {"ready_timeout_seconds": 300, "container": container},
        "workers": [
            {"name": "train", "accelerator_type": "v5litepod-8", **group},
            {"name": "eval", "accelerator_type": "v5litepod-4", **group},
        ],
        "logs": {"discovery_seconds": 3},
    }
    file = directory / "lab.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file
