from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_adapters.gcloud.owner import OwnerLookup
from iris_core.errors import ConfigError, InventoryError
from tests.unit.gcloud.scripted_gcloud import ScriptedGcloud

if TYPE_CHECKING:
    from collections.abc import Sequence


def nobody() -> str:
    raise ConfigError("no user name", key_path="owner")


def test_the_configured_owner_is_taken_without_asking() -> None:
    """Neither gcloud nor the system is asked."""
    gcloud = ScriptedGcloud()
    assert OwnerLookup("team-a", gcloud, nobody)() == "team-a"
    assert gcloud.commands == []


def test_else_it_is_gclouds_account_asked_for_once() -> None:
    """As a label's value."""
    gcloud = ScriptedGcloud(account="Joe.Doe@example.com")
    lookup = OwnerLookup(None, gcloud, nobody)
    assert [lookup(), lookup()] == ["joe-doe-example-com"] * 2
    assert gcloud.commands == [["config", "get", "account"]]


def test_without_an_account_it_is_the_local_user() -> None:
    """As where gcloud's credentials come from elsewhere."""
    assert OwnerLookup(None, ScriptedGcloud(), lambda: "Joe")() == "joe"


def test_without_either_one_must_be_named() -> None:
    """In a container whose user id has no name."""
    with pytest.raises(ConfigError, match="owner"):
        OwnerLookup(None, ScriptedGcloud(), nobody)()


def test_an_answer_that_is_none_is_an_error() -> None:
    """It is not taken for the absence of an account."""

    class Garbled:
        def run(self, argv: Sequence[str], *, changes: bool = False, era: int | None = None) -> str:
            return f"{argv} {changes} {era}"

        def era(self) -> int:
            """Nothing is ever called off."""
            return 0

        def call_off(self) -> None:
            """Nothing runs."""

        def close(self) -> None:
            """Nothing to end."""

    with pytest.raises(InventoryError, match="not JSON"):
        OwnerLookup(None, Garbled(), nobody)()
