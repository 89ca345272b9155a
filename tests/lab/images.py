"""The one image of the lab, made of the machine's busybox, without a registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE = "iris-lab:latest"

_ELF_HEADERS = 4096  # bytes, among which a program that needs a dynamic linker names it

_CONFIG = {
    "Env": ["PATH=/bin"],
    "Cmd": ["sh"],
    "StopSignal": "SIGKILL",  # the first process of a container ignores SIGTERM unless it handles it: stopping took 10 s
}
_VERSION = '{"version": "4", "ray_version": "lab", "session_name": "lab"}\n'
_CHATTER = """#!/bin/sh
# chatter COUNT [PER_SECOND [FIRST]]: writes `out N` on standard output and `err N` on standard error for COUNT numbers N from
# FIRST (1) on, PER_SECOND (0: as fast as it goes) of each, in bursts of a tenth of a second.
count=$1 per_second=${2:-0} number=${3:-1}
last=$((number + count - 1))
burst=$(((per_second + 9) / 10))
left=$burst
while [ $number -le $last ]; do
    echo "out $number"
    echo "err $number" >&2
    number=$((number + 1))
    [ $per_second -gt 0 ] || continue
    left=$((left - 1))
    [ $left -gt 0 ] || { left=$burst; sleep 0.1; }
done
"""


@cache
def image_archive() -> bytes:
    """The image as `docker load` takes it: busybox with all its applets, `/bin/chatter`, and a file `/www/api/version`.

    `busybox httpd -f -p 127.0.0.1:10000 -h /www` is as much of a controller as a probe of `/api/version` can tell.

    Raises:
        FileNotFoundError: there is no static busybox here.
    """
    layer = _tar(_files())
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": _CONFIG,
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }
    ).encode()
    manifest = [{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _tar({"config.json": config, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()})


def _files() -> dict[str, bytes | str]:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise FileNotFoundError("busybox is not installed; tests/lab/install.sh installs it")
    program = Path(busybox).read_bytes()
    if b"/ld-" in program[:_ELF_HEADERS]:
        raise FileNotFoundError(f"{busybox} is not statically linked; tests/lab/install.sh installs one that is")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return {
        **{f"bin/{applet}": "busybox" for applet in applets},
        "bin/busybox": program,
        "bin/chatter": _CHATTER.encode(),
        "www/api/version": _VERSION.encode(),
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n",
        "tmp/.keep": b"",
    }


def _tar(files: Mapping[str, bytes | str]) -> bytes:
    """A tar of files, and of symbolic links where the content is a text; all are executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
