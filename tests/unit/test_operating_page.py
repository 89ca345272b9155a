"""docs/operating.md explains what iris exits with."""

from __future__ import annotations

import re
from pathlib import Path

from iris_core import errors

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def test_every_exit_code_is_explained() -> None:
    """The page's table has a row for each code of an error that iris raises on purpose."""
    page = PAGE.read_text(encoding="utf-8")
    explained: set[int] = set()
    for first, last in re.findall(r"^\| (\d+)(?: to (\d+))? \|", page, re.MULTILINE):
        explained |= set(range(int(first), int(last or first) + 1))
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.IrisError) and kind is not errors.IrisError
    }
    assert codes <= explained
