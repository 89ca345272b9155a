"""What follows from a look at the inventory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iris_adapters.fakes import make_controller, make_slice
from iris_core.config import LogConfig
from iris_core.errors import ConfigError
from iris_core.model import Host, Slice, VmPhase
from iris_core.worker_discovery import Decision, decide, has_controller, shard_of, share_of

ONE = make_slice("s", hosts=2)
W0, W1 = ONE.hosts
BOTH = {"s-w0": W0, "s-w1": W1}
PENDING = replace(ONE, phase=VmPhase.PENDING)
MOVED = replace(ONE, hosts=(replace(W0, address="10.9.9.9"), W1))
WITHOUT_ADDRESS = replace(ONE, hosts=(replace(W0, address=""), W1))
REBORN = make_slice("s", hosts=2, life=2)
SMALLER = replace(ONE, hosts=(W0,))


def nothing() -> Decision:
    return Decision((), ())


@pytest.mark.parametrize(
    ("captured", "slices", "expected"),
    [
        pytest.param({}, [], nothing(), id="an empty cluster"),
        pytest.param({}, [ONE], Decision((W0, W1), ()), id="a new slice: all its hosts"),
        pytest.param({}, [PENDING], Decision((W0, W1), ()), id="one on its way: trying is what tells when it is there"),
        pytest.param({}, [make_slice("s", hosts=0)], nothing(), id="no addresses yet"),
        pytest.param({}, [WITHOUT_ADDRESS], Decision((W1,), ()), id="one of two addresses"),
        pytest.param({"s-w1": W1}, [ONE], Decision((W0,), ()), id="one host more"),
        pytest.param(BOTH, [ONE], nothing(), id="nothing new"),
        pytest.param(BOTH, [SMALLER], Decision((), ("s-w1",)), id="one host fewer"),
        pytest.param(BOTH, [], Decision((), ("s-w0", "s-w1")), id="the slice is gone"),
        pytest.param(BOTH, [REBORN], Decision((), ("s-w0", "s-w1")), id="another machine under the name"),
        pytest.param({}, [REBORN], Decision(REBORN.hosts, ()), id="and then it is started"),
        pytest.param(BOTH, [MOVED], Decision((), ("s-w0",)), id="another address"),
        pytest.param(BOTH, [WITHOUT_ADDRESS], Decision((), ("s-w0",)), id="its address was taken away"),
        *(
            pytest.param({}, [replace(ONE, phase=phase)], nothing(), id=f"{phase}: not begun with")
            for phase in (VmPhase.STOPPED, VmPhase.FAILED, VmPhase.DELETING)
        ),
        *(
            pytest.param(BOTH, [replace(ONE, phase=phase)], nothing(), id=f"{phase}: kept, its last lines may be had")
            for phase in (VmPhase.DELETING, VmPhase.PENDING)
        ),
        *(
            pytest.param(
                BOTH,
                [make_slice("s", hosts=2, phase=phase)],
                Decision((), (), {"s-w0": reason, "s-w1": reason}),
                id=f"{reason}: kept, its last lines may be had, and told",
            )
            for phase, reason in ((VmPhase.STOPPED, "stopped"), (VmPhase.FAILED, "preempted"))
        ),
    ],
)
def test_hosts_come_and_go(captured: dict[str, Host], slices: list[Slice], expected: Decision) -> None:
    """Each row: what is captured, what is there, what follows."""
    assert decide(captured, slices, None) == expected


def test_the_controller_is_a_host_like_others() -> None:
    """It is captured when it is there, and retired when it is not, or is another one."""
    controller = make_controller()
    assert decide({}, [ONE], controller) == Decision((W0, W1, controller.host), ())
    captured = {controller.name: controller.host}
    assert decide(captured, [], controller) == nothing()
    assert decide(captured, [], None) == Decision((), (controller.name,))
    assert decide(captured, [], make_controller(life=2)) == Decision((), (controller.name,))
    assert decide({}, [], make_controller(address="")) == nothing()


def test_the_order_of_the_inventory_is_kept() -> None:
    """Hosts are begun with as they are listed."""
    slices = [make_slice(name, hosts=2) for name in ("b", "a")]
    assert [host.name for host in decide({}, slices, None).start] == ["b-w0", "b-w1", "a-w0", "a-w1"]


class TestShards:
    SLICES = tuple(make_slice(f"iris-tpu-{20260101000000 + number}") for number in range(1000))

    def test_each_slice_falls_to_exactly_one_shard(self) -> None:
        """Together the shares are the whole, and none has much more than another."""
        shares = [share_of(self.SLICES, LogConfig(shard_index=index, shard_count=4)) for index in range(4)]
        assert sorted(one.name for share in shares for one in share) == [one.name for one in self.SLICES]
        assert all(200 < len(share) < 300 for share in shares)

    def test_the_only_process_has_everything(self) -> None:
        """The default."""
        assert share_of(self.SLICES, LogConfig()) == list(self.SLICES)
        assert has_controller(LogConfig())

    def test_the_controller_falls_to_the_first(self) -> None:
        """And to no other."""
        assert [has_controller(LogConfig(shard_index=index, shard_count=3)) for index in range(3)] == [
            True,
            False,
            False,
        ]

    def test_the_assignment_is_for_ever(self) -> None:
        """Processes of another version, or on another machine, must come to the same answer: these were written down once."""
        assert [shard_of(name, 4) for name in ("iris-tpu-20260101000000", "a", "b", "c", "")] == [0, 3, 1, 3, 0]

    @pytest.mark.parametrize(("index", "count"), [(1, 1), (-1, 2), (0, 0), (4, 4)])
    def test_a_shard_that_cannot_be_is_refused(self, index: int, count: int) -> None:
        """With its key path."""
        with pytest.raises(ConfigError, match=r"logs\.shard_"):
            LogConfig(shard_index=index, shard_count=count)
