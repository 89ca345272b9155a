"""What the configuration's sections share: the checks of single values."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

FORBID_UNKNOWN_KEYS: Final = {
    "extra": "forbid"
}  # what `__pydantic_config__` tells pydantic, so that the core need not know it

_NAME: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_KEY: Final = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_LABEL_VALUE: Final = re.compile(r"[-_a-z0-9]{0,63}")
_METADATA_KEY: Final = re.compile(r"[-_a-zA-Z0-9]{1,128}")
_MOST_TAG_CHARACTERS: Final = 63
_MOST_PORT: Final = 65535

# What iris itself writes there; two writers of one key would be one too many.
_IRIS_METADATA: Final = frozenset({"enable-guest-attributes", "ssh-keys", "startup-script"})


def nothing() -> Mapping[str, Any]:
    """An empty mapping, by a factory: Python 3.11 takes a mapping proxy for a mutable default."""
    return MappingProxyType({})


def check_name(value: str, key_path: str, most_characters: int) -> None:
    """Refuse what cannot be part of a Google Cloud name."""
    if not _NAME.fullmatch(value) or len(value) > most_characters:
        raise ConfigError(
            f"{value!r} cannot be part of a Google Cloud name: use 1 to {most_characters} of a-z, 0-9 and '-', beginning with "
            "a letter and not ending with '-'",
            key_path=key_path,
        )


def check_positive(value: float, key_path: str) -> None:
    """Refuse 0 and less."""
    if not value > 0:
        raise ConfigError(f"must be more than 0, is {value}", key_path=key_path)


def check_port(value: int, key_path: str, *, zero_allowed: bool = False) -> None:
    """Refuse what is no TCP port."""
    if not (0 if zero_allowed else 1) <= value <= _MOST_PORT:
        raise ConfigError(f"{value} is not a port number", key_path=key_path)


def check_label_value(value: str, key_path: str) -> None:
    """Refuse what cannot be the value of a label."""
    if not value or not _LABEL_VALUE.fullmatch(value):
        raise ConfigError(
            f"{value!r} cannot be the value of a label: use 1 to 63 of a-z, 0-9, '-' and '_'", key_path=key_path
        )


def check_labels(labels: Mapping[str, str], key_path: str) -> None:
    """Refuse labels that Google Cloud does not take."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise ConfigError(
                f"the label {key}={value} is not one Google Cloud takes: lower-case letters, digits, '-' and '_', at most 63",
                key_path=f"{key_path}.{key}",
            )


def check_metadata(metadata: Mapping[str, str], key_path: str) -> None:
    """Refuse keys that Google Cloud does not take, and those that iris writes itself."""
    for key in metadata:
        if not _METADATA_KEY.fullmatch(key):
            raise ConfigError(
                f"{key!r} is not a metadata key: use 1 to 128 letters, digits, '-' and '_'",
                key_path=f"{key_path}.{key}",
            )
        if key in _IRIS_METADATA:
            raise ConfigError("iris writes this key itself", key_path=f"{key_path}.{key}")


def check_tags(tags: Collection[str], key_path: str) -> None:
    """Refuse network tags that Google Cloud does not take."""
    for index, tag in enumerate(tags):
        check_name(tag, f"{key_path}.{index}", _MOST_TAG_CHARACTERS)
