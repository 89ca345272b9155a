"""The script that a VM runs at every boot, and that keeps its container running.

Compute runs it at every boot, as root; so does a TPU VM. It may therefore meet the container of its last run, stopped or running,
or one of an older configuration.
"""

from __future__ import annotations

import hashlib
import shlex
from typing import TYPE_CHECKING, Final

from iris_core.docker_run import (
    engine_answers_argv,
    read_label_argv,
    remove_container_argv,
    run_container_argv,
    start_container_argv,
)

if TYPE_CHECKING:
    from iris_core.config import ContainerConfig

_SPEC_LABEL: Final = "iris.spec"

# A pull may meet a network that is not up yet, or a registry that is busy: try for about ten minutes.
_TEMPLATE: Final = """\
#!/bin/bash
# Written by iris: keeps the host's container running. Its output is in the VM's serial console and journal.
set -u
until {engine_answers} >/dev/null 2>&1; do
  sleep 1
done
if [ "$({read_spec} 2>/dev/null)" = {spec} ]; then
  exec {start}
fi
for attempt in $(seq 60); do
  {remove} >/dev/null 2>&1
  {run} && exit 0
  echo "iris: attempt $attempt to run the container failed" >&2
  sleep 10
done
exit 1
"""


def startup_script(default_name: str, container: ContainerConfig) -> str:
    """The script for a host that runs this container.

    The container's environment becomes part of the script, and so of the VM's metadata, which whoever may read the VM can read:
    no place for secrets.

    Args:
        default_name: of the container, where it has none of its own.
        container: what to run, image and command included (`iris_adapters.gcloud.ray_containers`).
    """
    name = container.name or default_name
    spec = hashlib.sha256(shlex.join(run_container_argv(name, container)).encode()).hexdigest()[:32]
    return _TEMPLATE.format(
        engine_answers=shlex.join(engine_answers_argv()),
        read_spec=shlex.join(read_label_argv(name, _SPEC_LABEL)),
        spec=spec,
        start=shlex.join(start_container_argv(name)),
        remove=shlex.join(remove_container_argv(name)),
        run=shlex.join(run_container_argv(name, container, labels={_SPEC_LABEL: spec})),
    )
