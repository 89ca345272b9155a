"""A real container's log at full speed, and eight of them: iris beside curl on the host, `ssh`, asyncssh and Fabric's `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.benchmarks.bulk import in_turns
from tests.benchmarks.engine_host import EngineHost
from tests.benchmarks.results import CaseResult, Table, Target

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.clients.bulk import BulkFigures

_LINES: Final = 800_000
_FEW_CORES: Final = 0.5
_FABRIC_LINES: Final = 20_000
_NAMES: Final = {
    "curl": "`curl --unix-socket`, on the host itself",
    "iris-land": "iris",
    "rotating": "iris where the log may rotate: the engine's API alone",
    "iris-land-command": "iris where sshd forbids the engine's socket, through `docker system dial-stdio`",
    "ssh": "`ssh host docker logs --timestamps > file`",
    "ssh-gcm": "the same, aes128-gcm",
    "asyncssh": "asyncssh, `docker logs --timestamps`",
    "fabric": "Fabric's `run`, `docker logs --timestamps`",
}
_TEXT: Final = f"""\
A container of a real Docker engine has written {_LINES:,} lines of about 80 bytes; its log is read through a real sshd and landed, in
turns, the fastest of some rounds; curl reads the API on the host and throws it away. iris begins with the API, too, and goes on with the
engine's log file (docs/decisions/0010). All of it shares one machine: the engine, sshd and the reader (and the docker client of `docker
logs`), where curl alone has the machine for itself and the engine. Where the engine is given only {_FEW_CORES} of a core, it is the
ceiling of all that reads its API, as on a host of its own. Logs have no `max-size`, but where it is said that they may rotate: those iris
reads of the API alone. Eight streams are eight containers of one engine, with an eighth of the lines each; Fabric's `run` is no faster with
eight, for each of its characters is a step of one interpreter."""


def run(directory: Path) -> CaseResult:
    """Measure all of it: about five minutes."""
    rows: list[list[str]] = []
    with EngineHost(directory) as host:
        host.write("one", lines=_LINES)
        one = _measure(host, ["one"], _LINES, ("curl", "iris-land", "ssh"), rounds=5)
        one |= _measure(host, ["one"], _LINES, ("iris-land-command", "asyncssh"), rounds=2)
        host.remove("one")
        rotating = _measure_rotating(host, _LINES)
        rows += [
            _row(way, "all", 1, _LINES, figures) for way, figures in (one | {"rotating": rotating["iris-land"]}).items()
        ]
        part = _LINES // 8
        names = [f"part-{number}" for number in range(8)]
        host.write(*names, lines=part)
        eight = _measure(host, names, part, ("curl", "iris-land", "ssh", "asyncssh"), rounds=1)
        rows += [_row(way, "all", 8, _LINES, figures) for way, figures in eight.items()]
        host.write("few", lines=_FABRIC_LINES)
        rows.append(_row("fabric", "all", 1, _FABRIC_LINES, host.by("fabric", "few", lines=_FABRIC_LINES)))
        half = _LINES // 2
        host.write("half", lines=half)
        with host.engine_held_to(_FEW_CORES):
            held = _measure(host, ["half"], half, ("curl", "iris-land", "ssh"), rounds=3)
        host.remove("half")
        with host.engine_held_to(_FEW_CORES):
            held_rotating = _measure_rotating(host, half)
        held["rotating"] = held_rotating["iris-land"]
        rows += [_row(way, str(_FEW_CORES), 1, half, figures) for way, figures in held.items()]
    whole, over_ssh, at_ceiling = _over("curl", one), _over("ssh", one), _over("curl", held)
    return CaseResult(
        title="A container at full speed, and eight",
        text=_TEXT,
        tables=[
            Table(
                [
                    "way",
                    "engine's cores",
                    "streams",
                    "lines/s",
                    "reader's CPU, µs per line",
                    "peak memory, MB",
                    "last / first to end",
                ],
                rows,
            )
        ],
        targets=[
            Target(
                "one container at full speed: at least 0.95 of curl's rate on the host itself (engine, sshd and iris on one machine)",
                f"{whole:.2f}",
                whole >= 0.95,
            ),
            Target(
                f"the same with the engine held to {_FEW_CORES} of a core, so that it is the ceiling",
                f"{at_ceiling:.2f}",
                at_ceiling >= 0.95,
            ),
            Target(
                "one container at full speed: at least 1.3 times `ssh host docker logs --timestamps > file`",
                f"{over_ssh:.2f}",
                over_ssh >= 1.3,
            ),
        ],
        ratios={
            "rate of one, curl": whole,
            "rate of one, ssh": over_ssh,
            "rate of one, asyncssh": _over("asyncssh", one),
            "rate of one whose log may rotate, curl": _over("curl", rotating),
            "rate of one whose log may rotate, ssh": _over("ssh", rotating),
            "rate of eight, curl": _over("curl", eight),
            "rate of eight, ssh": _over("ssh", eight),
            "rate of eight, asyncssh": _over("asyncssh", eight),
            f"rate of one, engine at {_FEW_CORES} of a core, curl": at_ceiling,
            f"rate of one, engine at {_FEW_CORES} of a core, ssh": _over("ssh", held),
            f"rate of one whose log may rotate, engine at {_FEW_CORES} of a core, curl": _over("curl", held_rotating),
            f"rate of one whose log may rotate, engine at {_FEW_CORES} of a core, ssh": _over("ssh", held_rotating),
        },
    )


def landing_over_curl(directory: Path, lines: int, *, rounds: int, engine_cores: float) -> float:
    """At what part of curl's rate iris lands a log that may rotate, with the engine held to so many cores."""
    with EngineHost(directory) as host:
        host.write("one", lines=lines, rotates=True)
        with host.engine_held_to(engine_cores):
            figures = _measure(host, ["one"], lines, ("curl", "iris-land"), rounds=rounds)
    return _over("curl", figures)


def _over(other: str, figures: dict[str, BulkFigures]) -> float:
    """How many times faster than another way iris was."""
    return figures[other].seconds / figures["iris-land"].seconds


def _measure_rotating(host: EngineHost, lines: int) -> dict[str, BulkFigures]:
    host.write("rotating", lines=lines, rotates=True)
    return _measure(host, ["rotating"], lines, ("curl", "iris-land", "ssh"), rounds=3)


def _measure(
    host: EngineHost, containers: list[str], lines: int, ways: tuple[str, ...], *, rounds: int
) -> dict[str, BulkFigures]:
    def run_one(way: str) -> BulkFigures:
        return host.by_curl(*containers) if way == "curl" else host.by(way, *containers, lines=lines)

    return in_turns(ways, rounds, run_one)


def _row(way: str, cores: str, streams: int, lines: int, figures: BulkFigures) -> list[str]:
    is_curl = way == "curl"
    return [
        _NAMES[way],
        cores,
        str(streams),
        f"{lines / figures.seconds:,.0f}",
        "" if is_curl else f"{figures.cpu_seconds / lines * 1e6:.2f}",
        "" if is_curl else f"{figures.peak_mb:.0f}",
        f"{figures.ends[-1] / figures.ends[0]:.2f}" if streams > 1 and not is_curl else "",
    ]
