"""The one place that composes what iris asks a Docker engine for.

The engine's HTTP API is reached through its socket where sshd lets the login user connect to that, else over an exec channel, with no
forwarding and with sudo where needed, through `docker system dial-stdio`: what the docker client itself uses for ssh:// hosts. Paths
carry no API version, so that each engine answers in its own. Engine API reference: https://docs.docker.com/reference/api/engine/
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Final
from urllib.parse import quote, urlencode

ENGINE_SOCKET: Final = "/var/run/docker.sock"
"""Where an engine listens unless it is told otherwise: https://docs.docker.com/reference/cli/dockerd/"""

ALL: Final = None
"""For `tail`: every entry that the engine holds."""


def engine_argv(*, use_sudo: bool) -> list[str]:
    """The command that joins its stdin and stdout to the host's Docker engine. `-n`: never ask for a password."""
    docker = ["docker", "system", "dial-stdio"]
    return ["sudo", "-n", *docker] if use_sudo else docker


def json_file_argv(path: str, *, skip_bytes: int, use_sudo: bool) -> list[str]:
    """The command that prints what is in a container's json-file log at this moment, but for so many bytes of its beginning.

    Only root may read the engine's files: it takes sudo where docker does.
    """
    tail = ["tail", "-c", f"+{skip_bytes + 1}", path]
    return ["sudo", "-n", *tail] if use_sudo else tail


def json_file_size_argv(path: str, *, use_sudo: bool) -> list[str]:
    """The command that prints how many bytes such a log has."""
    stat = ["stat", "-c", "%s", path]
    return ["sudo", "-n", *stat] if use_sudo else stat


def inspect_all_argv(*, use_sudo: bool) -> list[str]:
    """The command that prints what the engine knows of each container, running or not: a JSON list; nothing where there is none."""
    docker = "sudo -n docker" if use_sudo else "docker"
    script = f'ids=$({docker} ps --all --quiet --no-trunc) || exit; [ -z "$ids" ] || exec {docker} inspect $ids'
    return ["sh", "-c", script]


@lru_cache(maxsize=64)
def inspect_request(container: str) -> bytes:
    """Ask for the state and the log settings of a container, by name or id."""
    return _get(f"/containers/{quote(container, safe='')}/json")


def logs_request(container_id: str, *, follow: bool, tail: int | None = ALL) -> bytes:
    """Ask for the log entries of a container with their timestamps: the last `tail` ones, or all that the engine holds.

    Following and one-shot reading differ in the follow flag only. Timestamps are asked for because they are part of what is landed;
    no read is ever cut by them (`since` is not used: timestamps are not monotonic in the log's order).
    """
    query = f"stdout=1&stderr=1&timestamps=1&follow={follow:d}&tail={'all' if tail is ALL else tail}"
    return _get(f"/containers/{quote(container_id, safe='')}/logs?{query}")


@lru_cache(maxsize=64)  # a thousand hosts are asked the same
def list_request(label: str) -> bytes:
    """Ask for all containers, running or not, that bear a label (`key` or `key=value`)."""
    query = {"all": "1", "filters": json.dumps({"label": [label]})}
    return _get(f"/containers/json?{urlencode(query)}")


@lru_cache(maxsize=64)
def changes_request(label: str, since: int | None) -> bytes:
    """Ask to be told of each container that bears a label, from now on: an answer that goes on for as long as one listens.

    Args:
        label: `key` or `key=value`.
        since: tell of what the engine remembers from this second on, too (of its own clock, since the epoch).
    """
    filters = {"type": ["container"], "label": [label], "event": ["create", "start", "rename", "destroy"]}
    query = {} if since is None else {"since": str(since)}
    return _get(f"/events?{urlencode({**query, 'filters': json.dumps(filters)})}")


def starts_request(container_id: str) -> bytes:
    """Ask for each start and end of a container, and for its removal, in their order, as far as the engine remembers, and from now on.

    It remembers the last 256 events of all containers since it was started (moby's daemon/events).
    """
    filters = {"type": ["container"], "container": [container_id], "event": ["start", "die", "destroy"]}
    return _get(f"/events?{urlencode({'since': '1', 'filters': json.dumps(filters)})}")


def _get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: docker\r\n\r\n".encode("ascii")
