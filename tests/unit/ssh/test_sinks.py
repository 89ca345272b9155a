"""A channel's buffers, which hold what nobody has taken yet."""

from __future__ import annotations

import pytest
from paramiko.ssh_exception import SSHException

from iris_adapters.ssh.sinks import WINDOW_BYTES, SinkBuffer


def test_a_host_that_sends_more_than_it_may_is_cut_off() -> None:
    """It would fill our memory; what is read makes room again."""
    buffer = SinkBuffer()
    for _ in range(3):
        buffer.feed(bytes(WINDOW_BYTES))
        buffer.feed(b"the packet that was on its way")

        with pytest.raises(SSHException, match="more than the channel's window allows"):
            buffer.feed(b"one more")

        while buffer.read(1 << 20):
            pass
        assert (len(buffer), buffer.read_ready()) == (0, False)
