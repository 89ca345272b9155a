"""What a case of the benchmark found: values that are kept as JSON and written as a section of the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures, as text.

    Attributes:
        columns: their heads.
        rows: as many cells each.
        caption: a sentence above it, or nothing.
    """

    columns: list[str]
    rows: list[list[str]]
    caption: str = ""

    def lines(self) -> list[str]:
        """As Markdown."""
        above = [self.caption, ""] if self.caption else []
        return [*above, _row(self.columns), _row(["---"] * len(self.columns)), *map(_row, self.rows), ""]


@dataclass(frozen=True, slots=True)
class Target:
    """Something that was promised, and what was measured.

    Attributes:
        promise: in words.
        measured: the figure, with its unit.
        met: whether it is kept.
    """

    promise: str
    measured: str
    met: bool


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of one case.

    Attributes:
        title: of its section.
        text: what was done, and what must be known to read the tables.
        tables: the figures.
        targets: what was promised of them.
        ratios: how many times better iris was than another way in the same run, by what was compared.
        ran: command, date and machine, filled in by whoever runs the case; the case itself may say the command.
    """

    title: str
    text: str
    tables: list[Table]
    targets: list[Target] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    ran: str = ""

    def save(self, path: Path) -> None:
        """Keep it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """What was kept."""
        value = json.loads(path.read_text(encoding="utf-8"))
        value["tables"] = [Table(**table) for table in value["tables"]]
        value["targets"] = [Target(**target) for target in value["targets"]]
        return cls(**value)

    def lines(self) -> list[str]:
        """Its section, as Markdown."""
        tables = list(self.tables)
        if self.ratios:
            rows = [[what, f"{times:.2f}"] for what, times in self.ratios.items()]
            tables.append(Table(["beside another way, in this run", "times better"], rows))
        lines = [line for table in tables for line in table.lines()]
        return [f"## {self.title}", "", self.text, "", *lines, f"Ran: {self.ran}", ""]


def page(results: list[CaseResult]) -> str:
    """The part of the page that is written by command: first what was promised, then section after section."""
    targets = [target for result in results for target in result.targets]
    missed = sum(not target.met for target in targets)
    verdict = f"{missed} of {len(targets)} are missed." if missed else f"All {len(targets)} are met."
    promised = Table(
        ["what was promised", "measured", "met"],
        [[target.promise, target.measured, "yes" if target.met else "**no**"] for target in targets],
        caption=verdict,
    )
    return "\n".join(["## The targets", "", *promised.lines(), *(line for one in results for line in one.lines())])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
