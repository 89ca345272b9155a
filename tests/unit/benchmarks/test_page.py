"""The page of the benchmark: what a case found, and when it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks.results import CaseResult, Table, Target, page

if TYPE_CHECKING:
    from pathlib import Path

RESULT = CaseResult(
    title="A case",
    text="What was done.",
    tables=[Table(["way", "s"], [["iris", "1"]], caption="Of one:")],
    targets=[Target("in at most 2 s", "1 s", met=True), Target("in at most 0.5 s", "1 s", met=False)],
    ratios={"rate, ssh": 1.5},
    ran="`just bench case`, today.",
)


def test_a_case_is_kept_and_written_with_its_ratios(tmp_path: Path) -> None:
    RESULT.save(tmp_path / "case.json")

    text = page([CaseResult.load(tmp_path / "case.json")])

    assert "1 of 2 are missed." in text
    assert "| in at most 0.5 s | 1 s | **no** |" in text
    assert "Of one:\n\n| way | s |" in text
    assert "| rate, ssh | 1.50 |" in text
    assert "Ran: `just bench case`, today." in text


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page, and a directory `kept` of what was found, in which nothing is."""
    path = tmp_path / "performance.md"
    path.write_text(f"# Head\n\n{benchmarks._PAGE_BEGIN}\n\nmeasured elsewhere\n", encoding="utf-8")
    monkeypatch.setattr(benchmarks, "_PAGE", path)
    monkeypatch.setattr(benchmarks, "_KEPT", tmp_path / "kept")
    return path


def test_the_page_keeps_what_was_measured_elsewhere(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One case, measured in a new clone, is not the whole page."""
    RESULT.save(written.parent / "kept" / "quiet.json")

    benchmarks._write_page()

    assert "measured elsewhere" in written.read_text(encoding="utf-8")
    assert "nothing is kept in" in capsys.readouterr().err


def test_the_page_is_written_once_all_is_there(written: Path) -> None:
    for name in (*benchmarks._CASES, *benchmarks._LONG_CASES):
        RESULT.save(written.parent / "kept" / f"{name}.json")

    benchmarks._write_page()

    text = written.read_text(encoding="utf-8")
    assert text.startswith("# Head\n\n<!-- written")
    assert "measured elsewhere" not in text
    assert text.count("## A case") == len(benchmarks._CASES) + len(benchmarks._LONG_CASES)
