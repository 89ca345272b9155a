"""What a Docker engine says of containers, whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from iris_core.container_state import ContainerState, names_of, started_again
from iris_core.errors import EngineError

INSPECT: dict[str, Any] = {
    "Id": "f" * 64,
    "State": {
        "Status": "running",
        "StartedAt": "2026-01-01T00:00:00.5Z",
        "FinishedAt": "2026-01-01T00:00:01.5Z",
        "ExitCode": 0,
        "OOMKilled": False,
    },
    "Config": {"Tty": False},
    "HostConfig": {"LogConfig": {"Type": "json-file", "Config": {}}},
}


def inspected(**changes: object) -> dict[str, Any]:
    """An answer to inspect with some values (`State__Status`) replaced."""
    value: dict[str, Any] = json.loads(json.dumps(INSPECT))
    for path, new in changes.items():
        *parents, last = path.split("__")
        inner = value
        for key in parents:
            inner = inner[key]
        inner[last] = new
    return value


class TestContainerState:
    def test_what_matters_is_read(self) -> None:
        """Every attribute comes from its place in the answer."""
        state = ContainerState.from_json(
            inspected(State__ExitCode=137, State__OOMKilled=True, State__Status="exited", Config__Tty=True)
        )
        assert state == ContainerState(
            id="f" * 64,
            running=False,
            started_at="2026-01-01T00:00:00.5Z",
            finished_at="2026-01-01T00:00:01.5Z",
            exit_code=137,
            oom_killed=True,
            tty=True,
            log_driver="json-file",
            can_rotate=False,
            kept_bytes=0,
            json_file="",
        )

    @pytest.mark.parametrize(
        ("status", "running"),
        [
            ("created", False),
            ("running", True),
            ("paused", True),
            ("restarting", True),
            ("removing", False),
            ("exited", False),
            ("dead", False),
        ],
    )
    def test_what_may_still_write_runs(self, status: str, running: bool) -> None:  # noqa: FBT001 - a table
        """All of Docker's states: a paused or restarting container is not at its end."""
        assert ContainerState.from_json(inspected(State__Status=status)).running is running

    @pytest.mark.parametrize(
        ("path", "options", "read"),
        [
            ("/var/lib/docker/containers/{id}/{id}-json.log", None, True),
            ("/var/lib/docker/100000.100000/containers/{id}/{id}-json.log", {"labels": "a"}, True),
            ("/var/lib/docker/containers/{id}/{id}-json.log", {"max-size": "10m"}, False),
            ("var/lib/docker/containers/{id}/{id}-json.log", None, False),
            ("/etc/shadow", None, False),
            ("/var/lib/docker/containers/{id}/local-logs/container.log", None, False),
            ("", None, False),
            (None, None, False),
        ],
    )
    def test_only_a_logs_one_file_is_read(self, path: str | None, options: dict[str, str] | None, read: bool) -> None:  # noqa: FBT001 - a table
        """One that may be rotated is not, nor anything that is not where an engine has its logs."""
        where = None if path is None else path.format(id="f" * 64)
        state = ContainerState.from_json(inspected(LogPath=where, HostConfig__LogConfig__Config=options))
        assert state.json_file == (where if read else "")

    @pytest.mark.parametrize(
        ("driver", "options", "can_rotate"),
        [
            ("json-file", {}, False),
            ("json-file", None, False),
            ("json-file", {"labels": "a"}, False),
            ("json-file", {"max-size": "1m"}, True),
            ("local", {}, True),  # rotates at 20 MB by itself
            ("journald", {}, True),
            ("none", {}, True),
        ],
    )
    def test_only_one_driver_never_rotates(self, driver: str, options: object, can_rotate: bool) -> None:  # noqa: FBT001 - a table
        """A log may be followed only where it is one file for ever."""
        value = inspected(HostConfig__LogConfig={"Type": driver, "Config": options})
        assert ContainerState.from_json(value).can_rotate is can_rotate

    @pytest.mark.parametrize(
        ("driver", "options", "kept_bytes"),
        [
            ("json-file", {"max-size": "10m", "max-file": "3"}, 20_000_000),
            ("json-file", {"max-size": "1M", "max-file": "2"}, 1_000_000),
            ("json-file", {"max-size": "512k", "max-file": "5"}, 2_048_000),
            ("json-file", {"max-size": "1000", "max-file": "2", "mode": "non-blocking"}, 1000),
            ("json-file", {"max-size": "1g"}, 0),  # one file, that is begun anew
            ("json-file", {"max-size": "1g", "max-file": "x"}, 0),
            ("json-file", {"max-size": "1.5m", "max-file": "3"}, 0),
            ("json-file", {"max-size": "1m", "max-file": "3", "labels": "a"}, 0),  # each entry has the labels, too
            ("local", {"max-size": "1m", "max-file": "3"}, 0),
            ("json-file", {"max-size": "9" * 5000, "max-file": "3"}, 0),  # more digits than Python reads
            ("json-file", {"max-size": "1m", "max-file": "9" * 5000}, 0),
            ("journald", {}, 0),
        ],
    )
    def test_what_a_rotated_log_holds_at_least(self, driver: str, options: object, kept_bytes: int) -> None:
        """All files but the one that is being written are full, in Docker's decimal units; 0 where nobody knows."""
        value = inspected(HostConfig__LogConfig={"Type": driver, "Config": options})
        assert ContainerState.from_json(value).kept_bytes == kept_bytes

    def test_one_that_was_only_created_was_never_started(self) -> None:
        """The engine gives Go's zero time."""
        assert not ContainerState.from_json(inspected(State__StartedAt="0001-01-01T00:00:00Z")).was_started
        assert ContainerState.from_json(INSPECT).was_started

    @pytest.mark.parametrize(
        "value",
        [
            None,
            [],
            "text",
            {},
            {"Id": "x"},
            inspected(Id=3),
            inspected(Id=""),
            inspected(Id="\ud800"),  # half a character, which JSON may hold and no request
            inspected(Id="../x"),
            inspected(State=None),
            inspected(State__ExitCode="0"),
            inspected(Config=[]),
            inspected(HostConfig__LogConfig=None),
            inspected(HostConfig__LogConfig={"Type": "json-file", "Config": 5}),
        ],
    )
    def test_an_answer_that_lacks_something_is_told(self, value: object) -> None:
        """Another server's JSON is an `EngineError`, never a crash."""
        with pytest.raises(EngineError, match="inspect"):
            ContainerState.from_json(value)


class TestNamesOf:
    def test_names_lose_their_slash_and_legacy_links_are_not_names(self) -> None:
        """`/other/alias` is how another container links to it."""
        listed = [{"Names": ["/one", "/two/alias"]}, {"Names": ["/three"]}, {"Names": []}, {"Names": None}]
        assert names_of(listed) == {"one", "three"}
        assert names_of([]) == frozenset()

    @pytest.mark.parametrize("value", [None, {}, "text", [None], [{}], [{"Names": "/a"}], [{"Names": [3]}]])
    def test_an_answer_that_is_no_list_is_told(self, value: object) -> None:
        """Anything else is an `EngineError`: it must not pass for "no containers"."""
        with pytest.raises(EngineError, match="Names"):
            names_of(value)


def event(action: str, at: int = 0) -> bytes:
    return json.dumps({"Action": action, "timeNano": at}).encode() + b"\n"


ONCE = event("start", 1) + event("die", 5_300_000_000)


class TestStartedAgain:
    END = "1970-01-01T00:00:05.25Z"

    @pytest.mark.parametrize(
        ("events", "again"),
        [
            (b"", None),
            (event("start", 5_000_000_000), None),
            (event("start", 1) + event("die", 5_250_000_001), None),
            (event("destroy"), False),  # all else is forgotten
            (event("die", 5_250_000_001) + event("destroy"), False),
            (event("start", 5_249_999_999) + event("die", 5_250_000_000) + event("destroy"), False),
            (event("start", 5_249_999_999) + event("destroy"), True),
            (event("start", 5_250_000_001) + event("destroy"), True),
            (event("start", 1) + event("die", 5_300_000_000) + event("start", 6_000_000_000) + event("destroy"), True),
            (event("start", 6_000_000_000) + event("die", 7_000_000_000) + event("destroy"), True),
            # The clock was set back after that end:
            (event("start", 1) + event("die", 5_300_000_000) + event("start", 2) + event("destroy"), True),
            (ONCE + event("start", 2) + event("die", 3) + event("destroy"), True),
            (ONCE + event("start", 2) + event("die", 5_400_000_000) + event("destroy"), True),
            (event("start", 2) + event("die", 3) + event("destroy"), True),
            # It had been started before:
            (
                event("start", 1)
                + event("die", 2)
                + event("start", 3)
                + event("die", 5_300_000_000)
                + event("destroy"),
                False,
            ),
            (event("destroy")[:-1], None),  # it may be cut
            (b"nonsense\n", True),
            (b"[" * 100_000 + b"\n", True),
            (b"{}\n" + event("destroy"), True),
            (b'{"Action":"start"}\n', True),
        ],
    )
    def test_only_a_removal_without_a_later_start_is_proof(self, events: bytes, again: bool | None) -> None:  # noqa: FBT001 - a table
        """To the nanosecond, in the order of the events, and what cannot be read is no proof."""
        assert started_again(events, self.END) is again

    def test_an_end_that_is_not_known_proves_nothing(self) -> None:
        """A landed file of before the end was recorded has none."""
        assert started_again(event("start", 1) + event("destroy"), "")
