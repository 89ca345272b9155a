"""JSON that must be of a documented shape: what is not is an `InventoryError` that names the key, never a KeyError. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from iris_core.errors import InventoryError

if TYPE_CHECKING:
    import re

JsonObject: TypeAlias = Mapping[str, object]


def parse_objects(text: str, what: str) -> list[JsonObject]:
    """The objects of a JSON list.

    Raises:
        InventoryError: it is not JSON, or not a list of objects.
    """
    parsed = _parse(text, what)
    if not isinstance(parsed, list):
        raise malformed(what, "", f"is {type(parsed).__name__}, not a list")
    return [as_object(item, what, f"[{index}]") for index, item in enumerate(parsed)]


def parse_object(text: str, what: str) -> JsonObject:
    """One JSON object.

    Raises:
        InventoryError: it is not JSON, or not an object.
    """
    return as_object(_parse(text, what), what, "")


def malformed(what: str, key: str, problem: str) -> InventoryError:
    """The error that an answer of the wrong shape is.

    Args:
        what: what the answer is about.
        key: where it is wrong, as a path; empty where it is wrong as a whole.
        problem: what is wrong there.
    """
    return InventoryError(
        f"gcloud's answer about {what} is not what Google documents: {key or 'it'} {problem}.",
        advice="Update gcloud (`gcloud components update`); if that does not help, please report it.",
    )


def as_object(value: object, what: str, key: str) -> JsonObject:
    """The value, if it is an object; `what` and `key` are for the error."""
    if not isinstance(value, dict):
        raise malformed(what, key, f"is {type(value).__name__}, not an object")
    return value


def as_text(value: object, what: str, key: str) -> str:
    """The value, if it is a string; `what` and `key` are for the error."""
    if not isinstance(value, str):
        raise malformed(what, key, f"is {type(value).__name__}, not a string")
    return value


def text_at(payload: JsonObject, key: str, what: str) -> str:
    """The string at a key that must be there and not be empty."""
    value = payload.get(key)
    if value is None or value == "":
        raise malformed(what, key, "is missing")
    return as_text(value, what, key)


def list_at(payload: JsonObject, key: str, what: str) -> list[object]:
    """The list at a key; Google leaves the key away where it is empty."""
    value = payload.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise malformed(what, key, f"is {type(value).__name__}, not a list")
    return value


def checked(grammar: re.Pattern[str], value: str, what: str, key: str) -> str:
    """The value, if it is of the grammar; `what` and `key` are for the error."""
    if not grammar.fullmatch(value):
        raise malformed(what, key, f"is {value!r}, which Google's grammar does not allow")
    return value


def time_at(payload: JsonObject, key: str, what: str) -> datetime | None:
    """The time at a key, in UTC; None if the key is absent."""
    value = payload.get(key)
    if value is None:
        return None
    text = as_text(value, what, key)
    try:
        moment = datetime.fromisoformat(text)  # drops what is finer than a microsecond
    except ValueError as error:
        raise malformed(what, key, f"is {text!r}, not a time") from error
    if moment.tzinfo is None:
        raise malformed(what, key, f"is {text!r}, a time without its zone")
    return moment.astimezone(UTC)


def _parse(text: str, what: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        start = text.strip()[:200]
        raise InventoryError(
            f"gcloud's answer about {what} is not JSON.",
            detail=start,
            advice="Update gcloud (`gcloud components update`) and try again.",
        ) from error
