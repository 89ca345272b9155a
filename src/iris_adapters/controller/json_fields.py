"""JSON values that must be of a type: what is not is a `JobApiError` that names the field."""

from __future__ import annotations

from typing import Any

from iris_core.errors import JobApiError


def as_mapping(value: object, name: str) -> dict[str, Any]:
    """The value, if it is an object; `name` is for the error."""
    if not isinstance(value, dict):
        raise JobApiError(f"{name} must be a JSON object")
    return value


def as_strings(value: object, name: str) -> dict[str, str]:
    """The value, if it is an object of strings; `name` is for the error."""
    return {key: as_string(item, f"{name}.{key}") for key, item in as_mapping(value, name).items()}


def as_string(value: object, name: str) -> str:
    """The value, if it is a string; `name` is for the error."""
    if not isinstance(value, str):
        raise JobApiError(f"{name} must be a string")
    return value


def as_boolean(value: object, name: str) -> bool:
    """The value, if it is true or false; `name` is for the error."""
    if not isinstance(value, bool):
        raise JobApiError(f"{name} must be true or false")
    return value


def as_integer_or_none(value: object, name: str) -> int | None:
    """The value, if it is a whole number or null; `name` is for the error."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise JobApiError(f"{name} must be a whole number")
    return value


def text_field(value: object, name: str) -> str:
    """The string `name` of a JSON object.

    Raises:
        JobApiError: it is not there, or not a string.
    """
    return as_string(as_mapping(value, "the answer").get(name), name)


def boolean_field(value: object, name: str) -> bool:
    """The boolean `name` of a JSON object.

    Raises:
        JobApiError: it is not there, or not a boolean.
    """
    return as_boolean(as_mapping(value, "the answer").get(name), name)
