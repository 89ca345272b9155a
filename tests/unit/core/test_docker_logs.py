"""What is asked of a Docker engine."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from iris_core import docker_logs


def target(request: bytes) -> str:
    """The target of a request that is complete and has no body."""
    head, method_and_target = request, request.split(b" ")
    assert head.endswith(b"\r\n\r\n")
    assert head.count(b"\r\n\r\n") == 1
    assert method_and_target[0] == b"GET"
    return method_and_target[1].decode()


def test_sudo_is_asked_for_without_a_password() -> None:
    """With sudo the same command runs behind `sudo -n`, which never prompts."""
    assert docker_logs.engine_argv(use_sudo=False) == ["docker", "system", "dial-stdio"]
    assert docker_logs.engine_argv(use_sudo=True) == ["sudo", "-n", "docker", "system", "dial-stdio"]


def test_a_logs_file_is_read_as_docker_is_run() -> None:
    """From a byte on (tail counts them from 1), with sudo where docker needs it."""
    assert docker_logs.json_file_argv("/x-json.log", skip_bytes=0, use_sudo=False) == [
        "tail",
        "-c",
        "+1",
        "/x-json.log",
    ]
    assert docker_logs.json_file_argv("/x-json.log", skip_bytes=7, use_sudo=True)[:5] == [
        "sudo",
        "-n",
        "tail",
        "-c",
        "+8",
    ]
    assert docker_logs.json_file_size_argv("/x-json.log", use_sudo=True) == [
        *("sudo", "-n", "stat", "-c", "%s", "/x-json.log"),
    ]


@pytest.mark.parametrize("tail", [1, 256, docker_logs.ALL])
def test_following_and_one_shot_differ_in_the_follow_flag_only(tail: int | None) -> None:
    """The specification's check: what follows a log and what collects it are the same request but for one flag."""
    follow = docker_logs.logs_request("abc", follow=True, tail=tail)
    once = docker_logs.logs_request("abc", follow=False, tail=tail)
    assert follow != once
    assert follow.replace(b"follow=1", b"follow=0") == once


def test_every_entry_is_asked_for_with_its_stream_and_timestamp() -> None:
    """No read is cut by a time: timestamps are not monotonic in the log's order."""
    url = urlsplit(target(docker_logs.logs_request("abc", follow=False)))
    assert url.path == "/containers/abc/logs"
    assert parse_qs(url.query) == {
        "stdout": ["1"],
        "stderr": ["1"],
        "timestamps": ["1"],
        "follow": ["0"],
        "tail": ["all"],
    }


@pytest.mark.parametrize("name", ["a/../b", "a b", "a?b=c#d", "ü", "a\r\nX: y", "%2e"])
def test_a_name_stays_one_part_of_the_path(name: str) -> None:
    """Whatever a container is called, it cannot change what is asked."""
    for request, last in (
        (docker_logs.inspect_request(name), "json"),
        (docker_logs.logs_request(name, follow=False), "logs"),
    ):
        assert request.count(b"\r\n") == 3
        parts = urlsplit(target(request)).path.split("/")
        assert parts[:2] == ["", "containers"]
        assert unquote(parts[2]) == name
        assert parts[3:] == [last]


def test_containers_are_listed_running_or_not() -> None:
    """One that has ended still has a log to land."""
    query = parse_qs(urlsplit(target(docker_logs.list_request("iris.managed=true"))).query)
    assert query["all"] == ["1"]
    assert json.loads(query["filters"][0]) == {"label": ["iris.managed=true"]}


def test_changes_are_those_that_change_the_list() -> None:
    """The engine tells of containers of the label that come, go, or change their names."""
    url = urlsplit(target(docker_logs.changes_request("iris.managed=true", since=1_767_225_600)))
    query = parse_qs(url.query)
    filters = json.loads(query["filters"][0])
    assert url.path == "/events"
    assert query["since"] == ["1767225600"]
    assert "since" not in target(docker_logs.changes_request("iris.managed=true", since=None))
    assert filters["label"] == ["iris.managed=true"]
    assert filters["type"] == ["container"]
    assert {"create", "destroy", "rename"} <= set(filters["event"])


def test_the_ends_of_a_container_are_asked_for_with_its_starts() -> None:
    """Which start followed which end is told by their order alone where the clock was set back."""
    query = parse_qs(urlsplit(target(docker_logs.starts_request("abc"))).query)
    filters = json.loads(query["filters"][0])
    assert filters["container"] == ["abc"]
    assert {"start", "die", "destroy"} == set(filters["event"])
