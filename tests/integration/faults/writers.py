"""What the containers of a lane write: shell scripts for the lab's busybox, each a shape of output that has broken a log capture."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACED = """
n=0
while :; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do echo "out $n"; echo "err $n" >&2; n=$((n + 1)); done
    usleep 40000
done
"""
_PADDED = """
n=0 pad=$(printf '%0150d' 0)
while :; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do echo "out $n $pad"; echo "err $n $pad" >&2; n=$((n + 1)); done
    usleep 40000
done
"""
_BURSTS = """
n=1000000
while :; do
    seq $n $((n + 9999))
    seq $n $((n + 4999)) >&2
    n=$((n + 10000))
    sleep 3
    echo "and some quiet lines"
    sleep 1
done
"""
_WIDE_BURSTS = """
n=1000000 pad=$(printf '%0900d' 0)
while :; do
    awk -v n=$n -v pad="$pad" 'BEGIN { for (i = n; i < n + 4000; i++) print i, pad }'
    n=$((n + 4000))
    sleep 3
done
"""
_TORRENT = r"""
n=1000000 pad=$(printf '%0600d' 0)
while :; do
    awk -v n=$n -v pad="$pad" 'BEGIN { for (i = n; i < n + 1000; i++) printf "%d \"%s\"\\\t<%d>\n", i, pad, i }'
    n=$((n + 1000))
    usleep 300000
done
"""
_PROGRESS = r"""
n=0 bar=$(printf '%01000d' 0 | tr 0 '#')
while :; do
    printf '\r%d %s' $n "$bar"
    n=$((n + 1))
    [ $((n % 300)) -gt 0 ] || printf '\n'
    [ $((n % 7)) -gt 0 ] || echo "beside the bar $n" >&2
    usleep 20000
done
"""
_ENDLESS = r"""
n=0 bar=$(printf '%01000d' 0 | tr 0 '#')
while :; do
    printf '\r%d %s' $n "$bar"
    n=$((n + 1))
    usleep 15000
done
"""
_STRANGE = r"""
while :; do
    printf 'a\000b\000\n\r\rcarriage\r\n\377\376 not UTF-8 \303\n\n \n  \n'
    printf 'cut \342\202' >&2
    yes 'the same line' | head -n 60
    printf '\000\000\000\n2026-01-01T00:00:00.000000000Z stdout F not a landed line\n' >&2
    printf '%016384d' 0
    printf '%016383d\n' 0
    usleep 200000
done
"""
_LONG = """
while :; do
    head -c 1000000 /dev/zero | tr '\\0' x
    echo
    head -c 300000 /dev/zero | tr '\\0' y >&2
    echo short
    sleep 2
done
"""
_CRASHING = """
n=0
while [ $n -lt 40 ]; do echo "before the crash $n"; echo "err $n" >&2; n=$((n + 1)); done
usleep 300000
echo "dying in the middle of a li" | tr -d '\\n'
exit 3
"""
_CHATTY_CRASHING = """
seq 1 3000
seq 1 3000 >&2
exit 4
"""


@dataclass(frozen=True, slots=True)
class Writer:
    """What one container writes, and how it is run.

    Attributes:
        script: for busybox's shell.
        options: of `docker run`.
    """

    script: str
    options: tuple[str, ...] = ()

    @property
    def restarts(self) -> bool:
        """Whether the engine starts it again by itself."""
        return "--restart=always" in self.options


_SMALL = ("--log-opt=max-size=1m", "--log-opt=max-file=3")
_LARGE = ("--log-opt=max-size=10m", "--log-opt=max-file=3")

WRITERS: Mapping[str, Writer] = MappingProxyType(
    {
        "paced": Writer(_PACED),
        "paced-1m": Writer(_PADDED, _SMALL),
        "bursts-1m": Writer(_BURSTS, _SMALL),
        "bursts-10m": Writer(_WIDE_BURSTS, _LARGE),
        "bursts": Writer(_BURSTS),
        "torrent": Writer(_TORRENT),
        "progress": Writer(_PROGRESS),
        "progress-1m": Writer(_PROGRESS, _SMALL),
        "endless-1m": Writer(_ENDLESS, _SMALL),
        "strange": Writer(_STRANGE),
        "strange-1m": Writer(_STRANGE, _SMALL),
        "long": Writer(_LONG),
        "long-10m": Writer(_LONG, _LARGE),
        "crashing": Writer(_CRASHING, ("--restart=always",)),
        "crashing-1m": Writer(_CHATTY_CRASHING, ("--restart=always", *_SMALL)),
    }
)
