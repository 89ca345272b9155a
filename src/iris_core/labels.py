"""The labels by which a resource says whose it is, of which cluster, and until when.

A label's value has lower-case letters, digits, `-` and `_`, at most 63 of them
(https://cloud.google.com/compute/docs/labeling-resources#requirements).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER_LABEL: Final = "iris-cluster"
"""Its value is the cluster's label prefix."""

OWNER_LABEL: Final = "iris-owner"
"""Its value is who the resource belongs to."""

EXPIRES_LABEL: Final = "iris-expires"
"""Its value is the time after which nobody should need the resource any more; there only where a time to live is configured."""

CREATION_LABEL: Final = "iris-creation"
"""Its value is another one for each creation of a slice, so that who finds something of the name it wanted knows whether it is its own.
Nothing else depends on it."""

_TIME_FORMAT: Final = "%Y-%m-%dt%H-%M-%Sz"
_MOST_VALUE_CHARACTERS: Final = 63


def managed_label(label_prefix: str) -> str:
    """The label that every resource of the cluster bears with the value `true`."""
    return f"{label_prefix}-managed"


def group_label(label_prefix: str) -> str:
    """The label whose value is the worker group of a slice."""
    return f"{label_prefix}-group"


def new_labels(
    label_prefix: str,
    *,
    owner: str,
    expires_at: datetime | None,
    group: str | None = None,
    creation: str | None = None,
) -> dict[str, str]:
    """The labels of a resource that is about to be created.

    Args:
        label_prefix: of the cluster.
        owner: see `owner_value`; empty: nobody.
        expires_at: aware; None: it does not expire.
        group: the worker group of a slice; None for a controller.
        creation: a label's value that no other creation has; None where what is found under the name is adopted, whoever made it.
    """
    labels = {managed_label(label_prefix): "true", CLUSTER_LABEL: label_prefix}
    if owner:
        labels[OWNER_LABEL] = owner
    if expires_at is not None:
        labels[EXPIRES_LABEL] = expires_at.astimezone(UTC).strftime(_TIME_FORMAT)
    if group is not None:
        labels[group_label(label_prefix)] = group
    if creation is not None:
        labels[CREATION_LABEL] = creation
    return labels


def owner_value(name: str) -> str:
    """The label value that an account or a user name becomes: `Joe.Doe@example.com` is `joe-doe-example-com`."""
    return re.sub(r"[^-_a-z0-9]", "-", name.strip().lower())[:_MOST_VALUE_CHARACTERS]


def owner_in(labels: Mapping[str, str]) -> str:
    """Whom the labels name as the owner; empty: nobody."""
    return labels.get(OWNER_LABEL, "")


def creation_in(labels: Mapping[str, str]) -> str:
    """Which creation the labels are from; empty: they do not say."""
    return labels.get(CREATION_LABEL, "")


def expiry_in(labels: Mapping[str, str]) -> datetime | None:
    """The time of expiry (aware, UTC) that the labels name. None: none, or one that is not of iris's form, which says nothing."""
    value = labels.get(EXPIRES_LABEL, "")
    try:
        return datetime.strptime(value, _TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
