"""The collector on the hosts that docs/scaling.md describes, as its tests use it."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from iris_adapters.config_file import load_config

if TYPE_CHECKING:
    from iris_core.config import WorkerGroupConfig

_DOCUMENTATION: Final = Path(__file__).parents[2] / "docs"
SCRIPT: Final = _DOCUMENTATION / "examples" / "collector" / "start-vector.sh"
CONFIGURATION: Final = _DOCUMENTATION / "examples" / "collector" / "vector.yaml"
SECTION: Final = (
    (_DOCUMENTATION / "scaling.md").read_text(encoding="utf-8").partition("## A collector on the hosts instead\n")[2]
)

_GCP: Final = "mode: gcp\ngcp: {project_id: my-project, zone: us-central1-a}\n"

# Answers from files named like a URL's last part; notes how it was called and which headers came by standard input.
_CURL: Final = r"""#!/bin/bash
printf '%s\n' "$@" >>"$HERE/curl-arguments"
output=/dev/stdout
for word in "$@"; do
  [ "$previous" != --output ] || output=$word
  [ "$previous" != --header ] || header=$word
  previous=$word
done
[ "$header" != @- ] || header=$(cat)
echo "$header $word" >>"$HERE/requests"
[ -e "$HERE/answers/${word##*/}" ] || exit 22
cat "$HERE/answers/${word##*/}" >"$output"
"""


def configuration() -> dict[str, Any]:
    """What is in vector.yaml."""
    parsed: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))
    return parsed


def worker_group(directory: Path) -> WorkerGroupConfig:
    """The group of the page's example, as iris reads it.

    Args:
        directory: for a file.
    """
    [example] = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)
    file = directory / "cluster.yaml"
    file.write_text(_GCP + example, encoding="utf-8")
    [group] = load_config(file).workers
    return group


def pretend_curl(directory: Path, answers: dict[str, str]) -> None:
    """Put a `curl` into the directory, which is to be its HERE and the first on its PATH.

    Args:
        directory: where; `requests` there becomes a line for each request, header and URL, and `curl-arguments` all its words.
        answers: by the last part of a URL; what is not here fails.
    """
    curl = directory / "curl"
    curl.write_text(_CURL, encoding="utf-8")
    curl.chmod(curl.stat().st_mode | stat.S_IXUSR)
    (directory / "answers").mkdir()
    for name, text in answers.items():
        (directory / "answers" / name).write_text(text, encoding="utf-8")


ANSWERS: Final = {
    "collector-bucket": "my-bucket",
    "collector-cluster": "iris",
    "tpu-env": "ACCELERATOR_TYPE: 'v5litepod-16'\nNODE_ID: 'iris-train-20261201120000'\nWORKER_ID: '3'\nZONE: 'us-central1-a'\n",
    "token": '{"access_token":"ya29.secret","expires_in":3599,"token_type":"Bearer"}',
    "vector.yaml": CONFIGURATION.read_text(encoding="utf-8"),
}
"""What a worker host's metadata server and the bucket answer."""


def transformed(line: str, *, file: str) -> dict[str, Any] | None:
    """What becomes of a line of a file, by VRL itself; None: it is dropped.

    Args:
        line: of the file.
        file: the path that it was read from.
    """
    pyvrl = pytest.importorskip("pyvrl", reason="there is no pyvrl for this Python")
    program = configuration()["transforms"]["entries"]["source"].replace("${HOST}", "a-slice-w0")
    event = {
        "message": line,
        "file": file,
        "source_type": "file",
        "host": "the-vm",
        "offset": 0,
        "timestamp": "as read",
    }
    try:
        result: dict[str, Any] = pyvrl.Transform(f"{program}\n.\n").remap(event)
    except ValueError as error:
        if "abort" not in str(error):
            raise
        return None
    return result
