"""Logs that are read of their own files although they are short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_core import json_file_reading

if TYPE_CHECKING:
    import pytest


def make_plenty(patch: pytest.MonkeyPatch, plenty_bytes: int) -> None:
    """Have so many bytes be so many that a log is read of its own file, and half of them enough to go on."""
    patch.setattr(json_file_reading, "_PLENTY_BYTES", plenty_bytes)
    patch.setattr(json_file_reading, "_STILL_PLENTY_BYTES", plenty_bytes // 2)
