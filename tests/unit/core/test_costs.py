from __future__ import annotations

from datetime import timedelta

import pytest

from iris_adapters.fakes import FakeClock, make_controller, make_queued_slice, make_slice
from iris_core.costs import assess, total_of
from iris_core.model import Hardware, VmPhase

NOW = FakeClock().now()
CREATED = NOW - timedelta(hours=2)
PRICES = {"e2-standard-4": 0.25, "v5litepod-16": 20.0, "v5litepod-16/spot": 8.0, "v4-2x2x2": 3.0}
CONTROLLER = make_controller(machine_type="e2-standard-4", created_at=CREATED)


def tpu(**hardware: object) -> Hardware:
    return Hardware(**hardware)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("resource", "per_hour", "cost"),
    [
        (CONTROLLER, 0.25, 0.5),
        (make_slice("s", hardware=tpu(accelerator_type="v5litepod-16"), created_at=CREATED), 20.0, 40.0),
        (make_slice("s", hardware=tpu(accelerator_type="v5litepod-16", spot=True), created_at=CREATED), 8.0, 16.0),
        (make_slice("s", hardware=tpu(type="V4", topology="2x2x2"), created_at=CREATED), 3.0, 6.0),
        (make_slice("s", hardware=tpu(accelerator_type="v6e-8"), created_at=CREATED), None, None),
        (make_slice("s", hardware=tpu(accelerator_type="v6e-8", spot=True), created_at=CREATED), None, None),
        (make_slice("s", hardware=tpu(accelerator_type="v5litepod-16")), 20.0, None),
        (
            make_slice("s", hardware=tpu(accelerator_type="v5litepod-16"), created_at=CREATED, phase=VmPhase.FAILED),
            None,
            None,
        ),
        (make_queued_slice("s", hardware=tpu(accelerator_type="v5litepod-16"), created_at=CREATED), None, None),
        (make_slice("s", created_at=NOW + timedelta(hours=1)), None, None),
    ],
)
def test_age_times_price(resource: object, per_hour: float | None, cost: float | None) -> None:
    """Of what is priced and runs; nothing is made up for the rest."""
    (one,) = assess([resource], PRICES, NOW)  # type: ignore[list-item]
    assert (one.price_per_hour, one.cost) == (per_hour, cost)
    assert one.age_seconds is None or one.age_seconds >= 0


def test_a_total_says_what_it_leaves_out() -> None:
    """The unpriced things that run, by the key that their price would have."""
    unpriced = make_slice("s", hardware=tpu(accelerator_type="v6e-8", spot=True), created_at=CREATED)
    stopped = make_slice("t", hardware=tpu(accelerator_type="v4-8"), phase=VmPhase.STOPPED)
    total = total_of(assess([CONTROLLER, unpriced, stopped], PRICES, NOW))
    assert (total.per_hour, total.cost, total.unpriced) == (0.25, 0.5, ("v6e-8/spot",))


def test_without_prices_there_is_no_total() -> None:
    """None, not 0."""
    total = total_of(assess([CONTROLLER], {}, NOW))
    assert (total.per_hour, total.cost, total.unpriced) == (None, None, ("e2-standard-4",))
