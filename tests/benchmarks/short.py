"""`python -m tests.benchmarks.short [--write]`: a form of the benchmark short enough for every change, as ratios.

Each ratio compares iris with another way in the same minute on the same machine, more is better. `--write` measures five times and makes
the middle of each ratio the one to judge later changes by (`ratios.toml`). `just test-ratios` measures once, and where that is a loss of
30 %, twice more: it fails if the middle of the three is one, too. No absolute time is judged.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from tests.benchmarks.bulk import in_turns, make_lines, through_sshd
from tests.benchmarks.engine_host import EngineHost
from tests.benchmarks.streams import measure_streams
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RATIOS_FILE: Final = Path(__file__).with_name("ratios.toml")
MOST_LOSS: Final = 0.3
_MEBIBYTES: Final = 192
_STREAMS: Final = 100
_QUIET_SECONDS: Final = 8.0
_LINES: Final = 200_000
_STARTS: Final = 5
_TIMES: Final = 5


def _transport(directory: Path) -> dict[str, float]:
    """A file through sshd alone."""
    (directory / "sshd").mkdir()
    source = directory / "source"
    sha256 = make_lines(source, _MEBIBYTES)
    with Sshd(directory / "sshd") as sshd:
        best = in_turns(("ssh", "iris", "asyncssh"), 3, lambda way: through_sshd(way, sshd, source, sha256))
    return {f"transport-iris-over-{other}": best[other].seconds / best["iris"].seconds for other in ("ssh", "asyncssh")}


def _quiet(directory: Path) -> dict[str, float]:
    """Streams of a line a second."""
    (directory / "iris").mkdir()
    (directory / "asyncssh").mkdir()
    iris = measure_streams("iris", _STREAMS, directory / "iris", seconds=_QUIET_SECONDS)
    other = measure_streams("asyncssh", _STREAMS, directory / "asyncssh", seconds=_QUIET_SECONDS)
    if iris.lost:
        raise RuntimeError(f"iris lost {iris.lost} lines")
    return {
        "quiet-cpu-asyncssh-over-iris": other.cpu_percent / iris.cpu_percent,
        "quiet-memory-asyncssh-over-iris": other.usage.pss_mb / iris.usage.pss_mb,
        "opening-cpu-asyncssh-over-iris": other.cpu_ms_to_open / iris.cpu_ms_to_open,
    }


def _container(directory: Path) -> dict[str, float]:
    """A real container's log."""
    with EngineHost(directory) as host:
        host.write("one", lines=_LINES)
        best = in_turns(
            ("curl", "iris-land", "ssh"),
            2,
            lambda way: host.by_curl("one") if way == "curl" else host.by(way, "one", lines=_LINES),
        )
    return {
        f"container-iris-over-{other}": best[other].seconds / best["iris-land"].seconds for other in ("curl", "ssh")
    }


def _start_up(_directory: Path) -> dict[str, float]:
    """`iris --help`, beside a Python that does nothing."""
    iris = [str(Path(sys.executable).with_name("iris")), "--help"]
    return {"start-up-python-over-iris": _seconds([sys.executable, "-c", "pass"]) / _seconds(iris)}


def _seconds(argv: list[str]) -> float:
    times = []
    for _ in range(_STARTS):
        began = time.monotonic()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    return median(times)


PARTS: Final[Mapping[str, Callable[[Path], dict[str, float]]]] = {
    "transport": _transport,
    "quiet": _quiet,
    "container": _container,
    "start-up": _start_up,
}


def measure(part: str) -> dict[str, float]:
    """The ratios of a part."""
    directory = Path(tempfile.mkdtemp(prefix="iris-short-"))
    try:
        return PARTS[part](directory)
    finally:
        shutil.rmtree(directory)


def checked_in() -> dict[str, dict[str, float]]:
    """The ratios to judge by, by part."""
    return tomllib.loads(RATIOS_FILE.read_text(encoding="utf-8"))


def losses(part: str, measured: Mapping[str, float], wanted: Mapping[str, float]) -> list[str]:
    """What is lost of the ratios of a part, for people; empty: no more than the noise."""
    if measured.keys() != wanted.keys():
        return [f"{part}: {sorted(measured)} were measured and {sorted(wanted)} are checked in"]
    return [
        f"{name}: {measured[name]:.2f}, and {ratio:.2f} is checked in"
        for name, ratio in wanted.items()
        if measured[name] < (1 - MOST_LOSS) * ratio
    ]


def middle(measured: list[dict[str, float]]) -> dict[str, float]:
    """Of each ratio, of an odd number of measurements."""
    return {name: median(ratios[name] for ratios in measured) for name in measured[0]}


def main() -> None:
    """Measure, print, and write if asked to."""
    write = "--write" in sys.argv[1:]
    measured = {part: middle([measure(part) for _ in range(_TIMES if write else 1)]) for part in PARTS}
    lines = ["# Ratios of the short benchmark, more is better; written by `just bench-short --write`, see short.py."]
    for part, ratios in measured.items():
        lines += ["", f"[{part}]", *(f"{name} = {ratio:.2f}" for name, ratio in ratios.items())]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    if write:
        RATIOS_FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
