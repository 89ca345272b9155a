"""What the lab needs from the machine, and what a test does where it is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DOCKER = "/usr/bin/docker"  # by its path: another client may be first on PATH
REQUIRE_VARIABLE = "IRIS_REQUIRE_LAB"


def missing_for_api() -> list[str]:
    """What the API server with the real gcloud in front of it lacks; empty: nothing."""
    return [] if shutil.which("gcloud") else ["gcloud (the Google Cloud CLI) is not on PATH"]


def missing_for_hosts() -> list[str]:
    """What pretended hosts lack besides."""
    programs = ("dockerd", "containerd", "sshd", "ssh", "ssh-keygen", "sudo", "busybox", "unshare", "nsenter", "ip")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [f"{program} is not installed" for program in programs if not shutil.which(program, path=path)]
    if not Path(DOCKER).exists():
        missing.append(f"{DOCKER} is not installed")
    if os.geteuid() != 0:
        missing.append("only root can start pretended hosts")
    return missing_for_api() + missing


def explain(missing: list[str]) -> str:
    """The reason for a skip or a failure, with what to do about it."""
    return f"no lab here: {'; '.join(missing)} (as root, tests/lab/install.sh installs all but gcloud)"


def is_required() -> bool:
    """Whether a test without a lab must fail rather than skip: the environment says `IRIS_REQUIRE_LAB=1`."""
    return os.environ.get(REQUIRE_VARIABLE) == "1"
