from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeInventory, make_controller, make_slice
from tests.unit.cli.rig import GCP, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Rig]:
    config = tmp_path / "cluster.yaml"
    config.write_text(GCP)
    monkeypatch.chdir(tmp_path)
    for name in ("IRIS_CONFIG", "IRIS_URL", "IRIS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    logger = logging.getLogger("iris")
    handlers, level = list(logger.handlers), logger.level
    yield Rig(capsys, monkeypatch, config)
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def cluster(rig: Rig) -> Rig:
    """A cluster that is there already."""
    rig.inventory = FakeInventory(controller=make_controller(), slices=[make_slice("iris-tpu-1", hosts=2, group="tpu")])
    return rig
