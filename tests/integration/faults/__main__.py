"""`python -m tests.integration.faults`: the long form of the fault suite. Writes its tables as a page."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from tests.integration.faults.lane import run_lane
from tests.integration.faults.plans import lane_names, plan
from tests.integration.faults.report import events_line, faults_table, lanes_table, lines_table, problems
from tests.lab.requirements import explain, missing_for_hosts
from tests.support.sshd import find_sshd

if TYPE_CHECKING:
    from tests.integration.faults.lane import LaneResult, Plan

_PAGE_BEGIN = "<!-- written by `just faults-long` -->"


def run_all(plans: list[Plan], at_once: int) -> list[LaneResult]:
    """Run lanes side by side, each in a process of its own; in the order of the plans."""
    results: dict[str, LaneResult] = {}
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = [pool.submit(run_lane, one) for one in plans]
        for future in as_completed(futures):
            result = future.result()
            results[result.plan.name] = result
            verdict = "; ".join(result.problems) or "all as it should be"
            sys.stderr.write(
                f"{result.plan.name}: {result.faults.total()} faults in {result.seconds:.0f} s: {verdict[:2000]}\n"
            )
    return [results[one.name] for one in plans]


def main() -> int:
    """Run the long form; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.integration.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of all schedules (default: 1)")
    parser.add_argument("--faults", type=int, default=1050, help="how many in all (default: 1050)")
    parser.add_argument("--longest-wait", type=float, default=1.5, help="between two faults, in seconds (default: 1.5)")
    parser.add_argument("--at-once", type=int, default=3, help="how many lanes run side by side (default: 3)")
    parser.add_argument("--lane", action="append", help="only these lanes")
    parser.add_argument(
        "--second-engine",
        default="",
        help="a directory with another Docker engine's programs: every second lane uses it, too",
    )
    parser.add_argument("--page", type=Path, help="the page whose end the tables replace")
    arguments = parser.parse_args()
    if missing := missing_for_hosts():
        sys.stderr.write(f"{explain(missing)}\n")
        return 1
    lanes = [(name, "") for name in arguments.lane or lane_names()]
    if arguments.second_engine:
        lanes += [(name, arguments.second_engine) for name, _ in lanes[1::2]]
    each = -(-arguments.faults // len(lanes))
    plans = [
        plan(name, seed=arguments.seed + number, faults=each, longest_wait=arguments.longest_wait, engine=engine)
        for number, (name, engine) in enumerate(lanes)
    ]
    began = time.monotonic()
    results = run_all(plans, arguments.at_once)
    page = _page(arguments, results, time.monotonic() - began)
    sys.stdout.write(page)
    if arguments.page is not None:
        text = arguments.page.read_text(encoding="utf-8").partition(_PAGE_BEGIN)[0]
        arguments.page.write_text(text + page, encoding="utf-8")
    for problem in problems(results):
        sys.stderr.write(f"{problem}\n")
    return 1 if any(result.problems for result in results) else 0


def _page(arguments: argparse.Namespace, results: list[LaneResult], seconds: float) -> str:
    command = f"python -m tests.integration.faults --seed {arguments.seed} --faults {arguments.faults}"
    if arguments.second_engine:
        command += " --second-engine DIRECTORY"
    if arguments.lane:
        command += "".join(f" --lane {name}" for name in arguments.lane)
    sshd = subprocess.run([find_sshd(), "-V"], capture_output=True, text=True, check=False).stderr.strip()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    ran = (
        f"`{command}`, {datetime.now(UTC):%Y-%m-%d}, in {seconds / 60:.0f} minutes on {os.cpu_count()} cores with {memory} GB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, {sshd}."
    )
    failed = problems(results)
    lines = [
        _PAGE_BEGIN,
        "",
        ran,
        "",
        "**Result: " + ("failed" if failed else "0 lost, 0 doubled, order kept, every gap told, none invented") + ".**",
        "",
        *(f"- {problem}" for problem in failed),
        "",
        *lanes_table(results),
        "",
        *faults_table(results),
        "",
        *lines_table(results),
        "",
        f"Events told: {events_line(results)}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
