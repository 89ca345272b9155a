"""What to do about the hosts that discovery finds: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from iris_core.model import VmPhase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from iris_core.config import LogConfig
    from iris_core.model import ControllerVm, Host, Slice

GONE: Final = "no longer listed"
"""The reason of a host that is lost where nothing else is known of it."""

_LOST: Final = frozenset({VmPhase.FAILED, VmPhase.STOPPED})
_WORTH_STARTING: Final = frozenset({VmPhase.PENDING, VmPhase.READY})


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one look at the inventory.

    Attributes:
        start: hosts whose logs are to be captured from now on.
        retire: names of captured hosts that are no longer there, or are there as another machine.
        lost: captured hosts, by name, whose machine was taken away or stopped and is still listed; and Google's word for it, in
            lower case: `preempted`, `terminated`, `stopped`.
    """

    start: tuple[Host, ...]
    retire: tuple[str, ...]
    lost: Mapping[str, str] = field(default_factory=dict)


def decide(captured: Mapping[str, Host], slices: Iterable[Slice], controller: ControllerVm | None) -> Decision:
    """Compare what is captured with what is there.

    A host is captured from the moment it has an address, ready or not: trying is what tells when it is. A host of a stopped or preempted
    slice is not begun with, but once begun with it is kept until it is gone: its last lines may still be had. A host that is there under
    the same name with another id or address is another machine: the old one is retired, and the new one is started the next time.

    Args:
        captured: the hosts that are captured now, by name.
        slices: all slices of the cluster.
        controller: its controller; None if there is none.
    """
    there: dict[str, Host] = {}
    fresh: dict[str, Host] = {}
    lost: dict[str, str] = {}
    machines: list[tuple[tuple[Host, ...], Slice | ControllerVm]] = [(one.hosts, one) for one in slices]
    if controller is not None:
        machines.append(((controller.host,), controller))
    for hosts, machine in machines:
        for host in hosts:
            if host.address:
                there[host.name] = host
                if machine.phase in _WORTH_STARTING:
                    fresh[host.name] = host
                elif machine.phase in _LOST and host.name in captured:
                    lost[host.name] = lost_reason(machine)
    return Decision(
        start=tuple(host for name, host in fresh.items() if name not in captured),
        retire=tuple(name for name, host in captured.items() if not _same_machine(host, there.get(name))),
        lost=lost,
    )


def shard_of(slice_name: str, shards: int) -> int:
    """Which of so many processes captures a slice, from 0 on: the same answer on every machine, in every version, for ever."""
    return int.from_bytes(blake2b(slice_name.encode(), digest_size=8).digest(), "big") % shards


def share_of(slices: Iterable[Slice], config: LogConfig) -> list[Slice]:
    """The slices that fall to the process that the configuration speaks of; all, where it is the only one."""
    if config.shard_count == 1:
        return list(slices)
    return [one for one in slices if shard_of(one.name, config.shard_count) == config.shard_index]


def has_controller(config: LogConfig) -> bool:
    """Whether the controller falls to the process that the configuration speaks of."""
    return config.shard_index == 0


def lost_reason(machine: Slice | ControllerVm) -> str:
    """Google's word for the state of a machine that is lost, as a reason: `preempted`, `terminated`, `stopped`."""
    return machine.state.lower() or machine.phase.value


def _same_machine(host: Host, other: Host | None) -> bool:
    return other is not None and (host.instance_id, host.address) == (other.instance_id, other.address)
