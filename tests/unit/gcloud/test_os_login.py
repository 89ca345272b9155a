from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.os_login import OsLogin
from iris_core.errors import InventoryError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = "ssh-ed25519 AAAA me@here"


class Profile:
    """Implements `GcloudRunner` for one account: answers with its users, and keeps what was added."""

    def __init__(self, *users: dict[str, object]) -> None:
        self.users = users
        self.added: list[tuple[str, str]] = []
        self.calls = 0
        self.failure: InventoryError | None = None

    def run(self, argv: Sequence[str], *, changes: bool = False, era: int | None = None) -> str:
        """See `GcloudRunner`."""
        assert not changes
        assert era is None
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        assert list(argv[:2]) == ["compute", "os-login"]
        if argv[2] == "ssh-keys":
            options = dict(word.removeprefix("--").split("=", 1) for word in argv[4:])
            self.added.append((Path(options["key-file"]).read_text(), options["ttl"]))
            return "{}"
        assert list(argv[2:]) == ["describe-profile"]
        return json.dumps({"posixAccounts": list(self.users)} if self.users else {})

    def era(self) -> int:
        """Nothing is ever called off."""
        return 0

    def call_off(self) -> None:
        """See `GcloudRunner`."""

    def close(self) -> None:
        """See `GcloudRunner`."""


def test_the_key_is_added_for_a_day_and_the_primary_name_is_used() -> None:
    """The account's name on VMs is Google's affair, whatever the e-mail address looks like."""
    profile = Profile({"username": "old"}, {"username": "me_example_com", "primary": True})

    assert OsLogin(profile, FakeClock(), lambda: KEY)() == "me_example_com"
    assert profile.added == [(f"{KEY}\n", "86400s")]


@pytest.mark.parametrize(
    ("users", "asked_for", "used"),
    [
        ([{"username": "a"}, {"username": "b", "primary": True}], "a", "a"),
        ([{"username": "a"}, {"username": "b", "primary": True}], "root", "b"),
        ([{"username": "a"}, {"username": "b"}], None, "a"),
        ([{"username": "a", "primary": False}, {"username": "b", "primary": True}], None, "b"),
    ],
)
def test_which_of_several_names_is_used(users: list[dict[str, object]], asked_for: str | None, used: str) -> None:
    """As gcloud does it: the one asked for, else the primary one, else the first."""
    assert OsLogin(Profile(*users), FakeClock(), lambda: KEY, asked_for)() == used


def test_a_name_that_the_profile_does_not_have_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is not used silently, nor refused: gcloud goes on, too."""
    OsLogin(Profile({"username": "me"}), FakeClock(), lambda: KEY, "root")()

    assert "gcp.ssh.user" in caplog.text


def test_a_thousand_connections_add_the_key_once() -> None:
    """Those that come meanwhile wait for it."""
    profile = Profile({"username": "me"})
    login = OsLogin(profile, FakeClock(), lambda: KEY)
    together = threading.Barrier(8)

    def connect(_number: int) -> set[str]:
        together.wait(5)
        return {login() for _ in range(125)}

    with ThreadPoolExecutor(8) as pool:
        names = set().union(*pool.map(connect, range(8)))

    assert names == {"me"}
    assert profile.calls == 2  # the key, and the profile


def test_the_key_is_renewed_before_it_expires() -> None:
    """A cluster may run for weeks, and connections are made anew at any time."""
    clock = FakeClock()
    profile = Profile({"username": "me"})
    login = OsLogin(profile, clock, lambda: KEY)
    for _ in range(3):
        login()
        clock.advance(11 * 3600)

    assert len(profile.added) == 2


def test_a_failure_is_not_asked_for_again_at_once() -> None:
    """Hundreds of hosts that connect must not start hundreds of gclouds for the same answer."""
    clock = FakeClock()
    profile = Profile({"username": "me"})
    profile.failure = PermissionDeniedError("no")
    login = OsLogin(profile, clock, lambda: KEY)
    for _ in range(5):
        with pytest.raises(PermissionDeniedError):
            login()
    asked = profile.calls
    profile.failure = None
    clock.advance(11)

    assert login() == "me"
    assert asked == 1


def test_a_profile_without_a_name_is_an_error_that_says_what_to_do() -> None:
    """Nobody could be let in."""
    with pytest.raises(InventoryError, match=r"roles/compute\.osAdminLogin"):
        OsLogin(Profile(), FakeClock(), lambda: KEY)()
