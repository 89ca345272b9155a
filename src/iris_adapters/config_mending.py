"""Mistakes in a configuration that hide others: what is put in their place, so that the others are found as well.

A section is checked only when every value in it has its type, stops at its first mistake, and is itself not looked at while one
inside it is wrong. So what is wrong is taken out of the plain values, and they are read once more; what is found then is a mistake of
its own unless it follows from what was taken out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

KeyPath: TypeAlias = tuple[str | int, ...]

_ANYTHING: Final = "x"
_GROUP: Final = {"accelerator_type": _ANYTHING, "runtime_version": _ANYTHING}

# What cannot be left out: some value that is right by itself. The places in lists are left out of these keys.
_NEEDED: Final[Mapping[KeyPath, Any]] = {
    ("gcp",): {"project_id": _ANYTHING, "zone": _ANYTHING},
    ("gcp", "project_id"): _ANYTHING,
    ("gcp", "zone"): _ANYTHING,
    ("workers", "accelerator_type"): _ANYTHING,
    ("workers", "runtime_version"): _ANYTHING,
}

# What is right or wrong only together with another key.
_RESTS_ON: Final[Mapping[KeyPath, tuple[KeyPath, ...]]] = {
    ("gcp",): (("mode",),),
    ("gcp", "external_ips"): (("gcp", "ssh", "route"), ("gcp", "ssh")),
    ("logs", "shard_index"): (("logs", "shard_count"),),
    ("workers", "accelerator_type"): (("workers", "type"), ("workers", "topology")),
    ("workers", "reserved"): (("workers", "spot"),),
}


def mend(values: Any, path: KeyPath, times: int) -> bool:
    """Take a wrong value out; one that is an item of a list or cannot be left out is replaced by one that is right.

    Args:
        values: a configuration's plain values; changed.
        path: where one is wrong.
        times: how often that has been tried to be put right before.

    Returns:
        whether anything was changed.
    """
    *around, key = path
    section = values
    try:
        for part in around:
            section = section[part]
    except (KeyError, TypeError):  # it was not there, or there is something else in its place
        return False
    if isinstance(section, dict) and key in section and not times:
        del section[key]
        return True
    replacement, is_section = _right_value(path), isinstance(section, dict | list)
    if times > 1 or replacement is None or not is_section:
        return False
    section[key] = replacement
    return True


def follows(path: KeyPath, told: Container[KeyPath]) -> bool:
    """Whether a mistake that is found only now may come from others, which have been taken out."""
    index = tuple(part for part in path[1:2] if isinstance(part, int))  # of the group, where it is about one
    return any((*other[:1], *index, *other[1:]) in told for other in _RESTS_ON.get(_section(path), ()))


def _right_value(path: KeyPath) -> Any:
    if _section(path) == ("workers", "name"):
        return f"{_ANYTHING}{path[1]}"
    if isinstance(path[-1], int):
        return {"name": f"{_ANYTHING}{path[-1]}", **_GROUP} if _section(path) == ("workers",) else _ANYTHING
    return _NEEDED.get(_section(path))


def _section(path: KeyPath) -> KeyPath:
    return tuple(part for part in path if isinstance(part, str))
