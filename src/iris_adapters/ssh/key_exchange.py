"""Parts of Paramiko's key exchange in fewer steps: a login is two thousand calls of Python, which cost more than its cryptography."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any, Final

from paramiko.common import cMSG_KEXINIT
from paramiko.message import Message
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport
from paramiko.util import get_logger

LOGGER: Final = get_logger("iris_adapters.ssh.paramiko")
# Paramiko logs every lost connection as an error with its traceback; iris reports it as an error of its own.
LOGGER.setLevel(logging.CRITICAL)

_COOKIE_BYTES: Final = 16
_LENGTH_BYTES: Final = 4
_LISTS: Final = (  # of a KEXINIT message, in their order (RFC 4253, 7.1), under Paramiko's names
    "kex_algo_list",
    "server_key_algo_list",
    "client_encrypt_algo_list",
    "server_encrypt_algo_list",
    "client_mac_algo_list",
    "server_mac_algo_list",
    "client_compress_algo_list",
    "server_compress_algo_list",
    "client_lang_list",
    "server_lang_list",
)


class QuickKeyExchange(Transport):
    """A client's transport. What it overrides does what Paramiko's does, and logs only where somebody hears of it."""

    _preferred_ciphers = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._derived_from: tuple[object, bytes] = (None, b"")  # the secret, and the beginning of what is hashed
        self.log_name, self.logger = LOGGER.name, LOGGER
        if not LOGGER.isEnabledFor(logging.ERROR):
            self._log = _say_nothing

    def _filter_algorithm(self, kind: str) -> tuple[str, ...]:
        internals: Any = super()
        names: tuple[str, ...] = (
            internals._filter_algorithm(kind)  # noqa: SLF001 - docs/decisions/0005
            if self.disabled_algorithms
            else getattr(self, f"_preferred_{kind}")
        )
        return names

    def _send_kex_init(self) -> None:
        internals: Any = self
        with self.clear_to_send_lock:
            self.clear_to_send.clear()
        self.in_kex = True
        exchanges = (*internals.preferred_kex, "ext-info-c")
        if internals.advertise_strict_kex:
            exchanges = (*exchanges, "kex-strict-c-v00@openssh.com")
        ciphers, macs = internals.preferred_ciphers, internals.preferred_macs
        compressions = internals.preferred_compression
        lists = _told((exchanges, internals.preferred_keys, *[ciphers] * 2, *[macs] * 2, *[compressions] * 2, (), ()))
        internals.local_kex_init = internals._latest_kex_init = cMSG_KEXINIT + os.urandom(_COOKIE_BYTES) + lists  # noqa: SLF001 - as above
        internals._send_message(Message(self.local_kex_init))  # noqa: SLF001 - as above

    def _really_parse_kex_init(self, m: Message, ignore_first_byte: bool = False) -> dict[str, object]:  # noqa: FBT001, FBT002 - Paramiko's
        read = m.packet.read
        read(_COOKIE_BYTES + ignore_first_byte)
        parsed: dict[str, object] = {
            name: read(int.from_bytes(read(_LENGTH_BYTES), "big")).decode().split(",") for name in _LISTS
        }
        parsed["kex_follows"] = read(1) not in {b"", b"\0"}
        read(_LENGTH_BYTES)  # reserved
        return parsed

    def _compute_key(self, id: str, nbytes: int) -> bytes:  # noqa: A002 - Paramiko's
        """See RFC 4253, 7.2.

        Raises:
            SSHException: there was no exchange.
        """
        internals: Any = self
        if internals.K is None:
            raise SSHException("The host began to use new keys that were not agreed on")
        if self._derived_from[0] is not internals.K:
            message = Message()
            internals._add_K(message)  # noqa: SLF001 - as above
            self._derived_from = (internals.K, message.asbytes() + internals.H)
        head, hashed = self._derived_from[1], internals.kex_engine.hash_algo
        key: bytes = hashed(head + id.encode() + internals.session_id).digest()
        while len(key) < nbytes:
            key += hashed(head + key).digest()
        return key[:nbytes]

    def _parse_newkeys(self, m: Message) -> None:
        super()._parse_newkeys(m)  # type: ignore[misc] # not in the stubs
        self._derived_from = (None, b"")  # the secret is of no more use


@lru_cache(maxsize=16)  # a thousand hosts are told the same
def _told(lists: tuple[tuple[str, ...], ...]) -> bytes:
    """What follows the cookie of a KEXINIT message."""
    message = Message()
    for names in lists:
        message.add_list(names)
    message.add_boolean(False)  # noqa: FBT003 - no guess follows
    message.add_int(0)
    return message.asbytes()


def _say_nothing(*_: object) -> None:
    """In the place of what Paramiko says, dozens of times for each connection."""
