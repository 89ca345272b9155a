"""`SmokeTestLogger`: the terminal and summary.md say the same, with wall-clock and elapsed time."""

from __future__ import annotations

import io
import os
from datetime import UTC, datetime
from pathlib import Path

import freezegun
import pytest

from iris_adapters.smoke_test.logger import SmokeTestLogger
from iris_adapters.system_clock import SystemClock
from iris_core.errors import LogFileError


class _ClosedPipe(io.StringIO):
    """A terminal whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe", text)


def test_every_line_bears_the_wall_clock_and_the_elapsed_time(tmp_path: Path) -> None:
    """UTC of the day and seconds since the start, on the terminal and in the summary."""
    terminal = io.StringIO()
    with freezegun.freeze_time(datetime(2026, 11, 23, 19, 59, 58, tzinfo=UTC)) as time:
        with SmokeTestLogger(tmp_path / "summary.md", SystemClock(), terminal) as logger:
            logger.title("Smoke test")
            time.tick(1.25)
            logger.section("Start")
            time.tick(2)
            logger.log("it runs\nand runs")
        assert logger.elapsed_seconds == 3.25
    assert terminal.getvalue() == (
        "19:59:58 (+0.0 s) Smoke test\n19:59:59 (+1.2 s) == Start\n20:00:01 (+3.2 s) it runs\nand runs\n"
    )
    assert (tmp_path / "summary.md").read_text() == (
        "# Smoke test\n\nStarted 2026-11-23 19:59:58 UTC.\n\n"
        "\n## Start\n\n_19:59:59 (+1.2 s)_\n\n"
        "- 20:00:01 (+3.2 s) it runs\n  and runs\n"
    )


def test_foreign_text_can_neither_end_its_block_nor_steer_the_terminal(tmp_path: Path) -> None:
    """A job's log is shown word for word, with a fence longer than its own and without control characters."""
    terminal = io.StringIO()
    with SmokeTestLogger(tmp_path / "summary.md", SystemClock(), terminal) as logger:
        logger.block("its last lines", "one\n```\n\x1b[2Jtwo")
    assert terminal.getvalue().splitlines()[1:] == ["    | one", "    | ```", "    | \ufffd[2Jtwo"]
    assert "\n````text\none\n```\n\ufffd[2Jtwo\n````\n" in (tmp_path / "summary.md").read_text()


def test_markdown_is_for_the_summary_alone(tmp_path: Path) -> None:
    """Tables would be noise on a terminal."""
    terminal = io.StringIO()
    with SmokeTestLogger(tmp_path / "summary.md", SystemClock(), terminal) as logger:
        logger.markdown("| a |")
    assert terminal.getvalue() == ""
    assert "\n| a |\n" in (tmp_path / "summary.md").read_text()


def test_a_terminal_that_has_gone_ends_nothing(tmp_path: Path) -> None:
    """`iris smoke-test | head` still cleans up, and the summary is whole."""
    with SmokeTestLogger(tmp_path / "summary.md", SystemClock(), _ClosedPipe()) as logger:
        logger.log("one")
        logger.log("two")
    assert (tmp_path / "summary.md").read_text().count("\n- ") + 1 == 2


def test_a_failure_is_told_with_its_reasons_where_errors_go(tmp_path: Path) -> None:
    """Once more, at the end; a success is not."""
    errors = io.StringIO()
    with SmokeTestLogger(tmp_path / "summary.md", SystemClock(), io.StringIO(), errors) as logger:
        logger.verdict("all is well", failed=False)
        assert errors.getvalue() == ""
        logger.failure("it broke \x1b")
        logger.verdict("it failed", failed=True)
    assert errors.getvalue() == "iris: it failed\nit broke \ufffd\n"


def test_what_is_said_after_the_close_reaches_the_terminal(tmp_path: Path) -> None:
    """A late thread does no harm."""
    terminal = io.StringIO()
    logger = SmokeTestLogger(tmp_path / "summary.md", SystemClock(), terminal)
    logger.close()
    logger.log("late")
    assert "late" in terminal.getvalue()


def test_a_full_disk_is_told_once_and_ends_nothing() -> None:
    """The run goes on to its clean-up, and what it could not write is known afterwards."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    terminal = io.StringIO()
    errors = io.StringIO()
    logger = SmokeTestLogger(Path("/dev/full"), SystemClock(), terminal, errors)
    logger.log("one")
    logger.log("two")
    assert "No space left" in logger.problem
    assert terminal.getvalue().count("No space left") == 1
    assert "two" in terminal.getvalue()
    logger.verdict("it failed", failed=True)
    assert errors.getvalue() == f"iris: it failed\n{logger.problem}\n"


def test_the_summary_is_this_users_only(tmp_path: Path) -> None:
    """The last lines of jobs are in it, and may hold secrets."""
    former = os.umask(0o022)
    try:
        SmokeTestLogger(tmp_path / "summary.md", SystemClock(), io.StringIO()).close()
    finally:
        os.umask(former)
    assert (tmp_path / "summary.md").stat().st_mode & 0o777 == 0o600


def test_a_summary_that_cannot_be_created_is_an_error_that_names_it(tmp_path: Path) -> None:
    """No traceback for a wrong directory."""
    with pytest.raises(LogFileError, match=r"absent/summary\.md"):
        SmokeTestLogger(tmp_path / "absent" / "summary.md", SystemClock(), io.StringIO())
