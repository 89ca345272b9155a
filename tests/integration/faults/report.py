"""The suite's figures as a page of tables. Pure, but for what it is told of the machine."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.integration.faults.checker import Verdict
    from tests.integration.faults.lane import LaneResult


def faults_table(results: Sequence[LaneResult]) -> list[str]:
    """How many faults of each kind were injected in each lane."""
    kinds = sorted({kind for result in results for kind in result.faults})
    lines = _head(["fault", *(result.plan.name for result in results), "all"])
    for kind in kinds:
        counts = [result.faults[kind] for result in results]
        lines.append(_row([kind, *(str(count or "") for count in counts), str(sum(counts))]))
    totals = [result.faults.total() for result in results]
    lines.append(_row(["**all**", *map(str, totals), f"**{sum(totals)}**"]))
    progress = [result.after_progress for result in results]
    lines.append(_row(["with new bytes landed since the one before", *map(str, progress), str(sum(progress))]))
    return lines


def lanes_table(results: Iterable[LaneResult]) -> list[str]:
    """What each lane was."""
    lines = _head(
        ["lane", "seed", "Docker", "live-restore", "engine reached by", "landed of log files", "seconds", "containers"]
    )
    for result in results:
        plan = result.plan
        restore = "yes" if plan.live_restore else "no"
        lines.append(
            _row(
                [
                    plan.name,
                    plan.seed,
                    result.engine_version,
                    restore,
                    "sudo docker" if plan.use_sudo else "its socket",
                    f"{result.file_reads:,} times" if plan.plenty_bytes is not None else "not counted",
                    round(result.seconds),
                    ", ".join(plan.writers),
                ]
            )
        )
    return lines


def lines_table(results: Sequence[LaneResult]) -> list[str]:
    """What became of the lines."""
    lines = _head(
        [
            "lane: writer",
            "containers",
            "lines written",
            "landed",
            "in gaps told (how many)",
            "in heads told (how many)",
            "in tails told (how many)",
            "lost",
            "doubled",
        ]
    )
    for result in results:
        for writer, verdict in result.verdicts.items():
            lines.append(_row([f"{result.plan.name}: {writer}", *_figures([verdict])]))
    every = [verdict for result in results for verdict in result.verdicts.values()]
    lines.append(_row(["**all**", *_figures(every)]))
    return lines


def events_line(results: Iterable[LaneResult]) -> str:
    """How many events of each kind were told."""
    events: Counter[str] = Counter()
    for result in results:
        events.update(result.events)
    return ", ".join(f"{kind} {count:,}" for kind, count in sorted(events.items()))


def problems(results: Iterable[LaneResult]) -> list[str]:
    """Everything that went wrong, for people."""
    return [
        f"{result.plan.name} (seed {result.plan.seed}): {problem} [{result.kept}]"
        for result in results
        for problem in result.problems
    ]


def _figures(verdicts: Sequence[Verdict]) -> list[str]:
    def total(name: str) -> int:
        return sum(getattr(verdict, name) for verdict in verdicts)

    def told(lines: str, times: str) -> str:
        return f"{total(lines):,} ({total(times)})" if total(times) else ""

    unseen = f" (+ {total('unseen_lives')} unseen)" if total("unseen_lives") else ""
    return [
        f"{total('lives')}{unseen}",
        f"{total('written'):,}",
        f"{total('landed'):,}",
        told("in_gaps", "gaps"),
        told("in_heads", "heads"),
        told("in_tails", "tails"),
        str(total("lost")),
        str(total("doubled")),
    ]


def _head(names: Sequence[str]) -> list[str]:
    return [_row(names), _row(["---"] * len(names))]


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
