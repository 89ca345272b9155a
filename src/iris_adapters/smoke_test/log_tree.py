"""The directory of a smoke test: what is in it, and what each thing is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_core.errors import LogFileError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file or directory of the tree.

    Attributes:
        path: where it is, relative to the root.
        description: what it is, in a few words.
    """

    path: str
    description: str


class LogTree:
    """A new directory for the artifacts of one run. It is created for its owner alone: logs may hold secrets.

    Args:
        root: the directory; it must not exist yet, or be empty.

    Raises:
        LogFileError: it holds something already, or cannot be created.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._artifacts: dict[str, Artifact] = {}
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_used = any(root.iterdir())
        except OSError as error:
            raise LogFileError(f"{root} cannot be the log directory: {error.strerror or error}", path=root) from error
        if is_used:
            raise LogFileError(f"{root} is not empty: name another log directory, or remove it", path=root)

    def file(self, path: str, description: str) -> Path:
        """Announce a file and return where it is to be written; the directories around it exist then.

        Raises:
            LogFileError: a directory could not be created.
        """
        return self._announce(path, description, self.root / path, (self.root / path).parent)

    def directory(self, path: str, description: str) -> Path:
        """Announce a directory, create it and return where it is.

        Raises:
            LogFileError: it could not be created.
        """
        return self._announce(path.rstrip("/") + "/", description, self.root / path, self.root / path)

    def artifacts(self) -> tuple[Artifact, ...]:
        """What was announced and is really there (a directory: not empty), in the order of the announcements."""
        return tuple(artifact for artifact in self._artifacts.values() if _has_content(self.root / artifact.path))

    def index(self) -> str:
        """The artifacts as a Markdown table."""
        rows = [f"| [{one.path}]({one.path}) | {one.description} |" for one in self.artifacts()]
        return "\n".join(["| artifact | what it is |", "|---|---|", *rows])

    def _announce(self, name: str, description: str, path: Path, directory: Path) -> Path:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LogFileError(f"{directory} cannot be created: {error.strerror or error}", path=directory) from error
        self._artifacts[name] = Artifact(name, description)
        return path


def _has_content(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()
