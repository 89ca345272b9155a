"""The environment in which the real gcloud talks to the lab and touches nothing of the user's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.lab.cloud import PROJECT, ZONE
from tests.lab.os_login import ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path


def gcloud_environment(api_url: str, home: Path) -> dict[str, str]:
    """The whole environment of a gcloud process: what PATH needs, its own HOME and CLOUDSDK_CONFIG, all calls to `api_url`."""
    config = home / "gcloud"
    config.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSDK_", "GOOGLE_"))}
    return {
        **kept,
        "HOME": str(home),
        "CLOUDSDK_CONFIG": str(config),
        "CLOUDSDK_CORE_ACCOUNT": ACCOUNT,
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_COMPUTE_ZONE": ZONE,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{api_url}/compute/v1/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU": f"{api_url}/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_OSLOGIN": f"{api_url}/",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
    }
