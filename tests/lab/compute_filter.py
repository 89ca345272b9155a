"""The part of Compute's list filters that gcloud pushes to the server: `field eq|ne regex`, joined by juxtaposition or AND."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from tests.lab.http_shapes import Json

_CLAUSE = re.compile(
    r"""\s*(?:AND\s+)?\(?\s*
    (?P<field>[\w.-]+)\s*(?P<operator>\beq\b|\bne\b|!=|=)\s*
    (?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|(?P<bare>[^\s()]+))
    \s*\)?\s*""",
    re.VERBOSE,
)


def matches(expression: str, body: Json) -> bool:
    """Whether the resource passes the filter. `eq` and `ne` compare the whole value with a regular expression.

    Raises:
        ApiError: 400, the lab does not know such a filter; better refused than ignored.
    """
    position = 0
    while position < len(expression):
        clause = _CLAUSE.match(expression, position)
        if clause is None:
            raise ApiError(400, f"Invalid value for field 'filter': '{expression}'.", reason="invalid")
        wanted = next(text for text in clause.group("double", "single", "bare") if text is not None)
        value = _value(body, clause["field"])
        as_regex = clause["operator"] in {"eq", "ne"}
        equal = re.fullmatch(wanted, value) is not None if as_regex else wanted == value
        if equal != (clause["operator"] in {"eq", "="}):
            return False
        position = clause.end()
    return True


def _value(body: Json, field: str) -> str:
    value: Any = body
    for part in field.split("."):
        value = value.get(part, {}) if isinstance(value, dict) else {}
    return "" if value == {} else str(value)
