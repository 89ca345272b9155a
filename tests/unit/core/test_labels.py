from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from iris_core.labels import creation_in, expiry_in, new_labels, owner_in, owner_value

NOON = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)


def test_labels_say_whose_a_resource_is_of_which_cluster_and_until_when() -> None:
    """What is written is read again, whatever zone the time was in; a label takes all of it."""
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    labels = new_labels("a-b", owner="joe", expires_at=there, group="tpu", creation="f" * 32)
    assert labels == {
        "a-b-managed": "true",
        "iris-cluster": "a-b",
        "iris-owner": "joe",
        "iris-expires": "2026-11-24t12-00-30z",
        "a-b-group": "tpu",
        "iris-creation": "f" * 32,
    }
    assert all(re.fullmatch(r"[a-z][-_a-z0-9]{0,62}", key) for key in labels)
    assert all(re.fullmatch(r"[-_a-z0-9]{0,63}", value) for value in labels.values())
    assert owner_in(labels) == "joe"
    assert expiry_in(labels) == NOON
    assert creation_in(labels) == "f" * 32


def test_what_does_not_expire_bears_no_time() -> None:
    """Nor does what nobody owns bear an owner, nor a controller a group."""
    labels = new_labels("iris", owner="", expires_at=None)
    assert labels == {"iris-managed": "true", "iris-cluster": "iris"}
    assert owner_in(labels) == ""
    assert expiry_in(labels) is None
    assert creation_in(labels) == ""


def test_a_time_of_somebody_elses_form_says_nothing() -> None:
    """A label that a user has changed by hand breaks no list."""
    assert expiry_in({"iris-expires": "tomorrow"}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Joe.Doe@Example.com", "joe-doe-example-com"),
        ("root", "root"),
        ("ci_1@p.iam.gserviceaccount.com\n", "ci_1-p-iam-gserviceaccount-com"),
        ("x" * 80, "x" * 63),
    ],
)
def test_a_name_becomes_a_label_value(name: str, value: str) -> None:
    """Every character that a label cannot have is replaced, and what is too long is cut."""
    assert owner_value(name) == value
