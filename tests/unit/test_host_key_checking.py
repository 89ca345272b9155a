"""Host keys are checked everywhere: nothing in the repository switches that off."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Written in pieces, so that this file does not match itself.
OFF = "|".join(
    [
        "StrictHost" + r"KeyChecking['\"]?[ =,:]+['\"]?(no|off|accept-new)\b",
        "strict-host" + r"-key-checking[ =]+(no|off)",
        "UserKnown" + r"HostsFile[ =]+/dev/null",
        r"\bAutoAdd" + "Policy",
        r"\bWarning" + "Policy",
    ]
)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone: git says which files are the repository's")
def test_nothing_in_the_tree_switches_the_check_off() -> None:
    """No source, test, document or configuration; every file that git knows, and new ones."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    found = [
        f"{file.relative_to(ROOT)}: {match[0]}"
        for file in files
        for match in re.finditer(OFF, file.read_text(encoding="utf-8", errors="replace"), re.IGNORECASE)
    ]

    assert len(files) > 200
    assert found == []


def test_the_search_finds_what_it_is_for() -> None:
    """So that the test above cannot pass by finding nothing."""
    for text in (
        "-o StrictHost" + "KeyChecking=no",
        "StrictHost" + "KeyChecking no",
        "--strict-host" + "-key-checking=no",
        "set_missing_host_key_policy(paramiko.AutoAdd" + "Policy())",
    ):
        assert re.search(OFF, text, re.IGNORECASE)
    assert not re.search(OFF, "StrictHost" + "KeyChecking=yes", re.IGNORECASE)
