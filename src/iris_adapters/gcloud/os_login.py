"""Logging in by OS Login: Google knows which keys an account has and what it is called on VMs, and the VMs ask it.

https://cloud.google.com/compute/docs/oslogin; responses: https://cloud.google.com/compute/docs/oslogin/rest/v1/users
"""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.json_shape import as_object, list_at, parse_object, text_at
from iris_core.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_core.ports.clock import Clock

_logger = logging.getLogger("iris.ssh")

# A profile holds 32 KiB of keys, so a key must not stay in it for ever. A connection needs it only while it is being made.
_KEY_SECONDS: Final = 24 * 3600
_RENEW_SECONDS: Final = _KEY_SECONDS / 2
_ASK_AGAIN_SECONDS: Final = 10.0


class OsLogin:
    """Puts our key into the account's profile, and knows the account's name on VMs. Any thread may call it.

    However many connections want it at the same time: the key is put there once, and again when half of its day is over.

    Args:
        gcloud: runs the commands.
        clock: tells the time.
        public_key: our public key, one OpenSSH line.
        user: the name to log in with, if the profile has several; None: its primary one.
    """

    def __init__(
        self, gcloud: GcloudRunner, clock: Clock, public_key: Callable[[], str], user: str | None = None
    ) -> None:
        self._gcloud = gcloud
        self._clock = clock
        self._public_key = public_key
        self._user = user
        self._lock = threading.Lock()
        self._name = ""
        self._renew_at = 0.0
        self._failure: InventoryError | None = None
        self._ask_again_at = 0.0

    def __call__(self) -> str:
        """The name to log in with; the key is in the profile when this returns.

        Raises:
            InventoryError: it could not be put there, or the profile names no account. That is not asked again for ten seconds.
            ConfigError: there is no key.
        """
        with self._lock:
            now = self._clock.monotonic()
            if self._name and now < self._renew_at:
                return self._name
            if self._failure is not None and now < self._ask_again_at:
                raise self._failure
            try:
                self._add_key()
                self._name = self._account_name()
            except InventoryError as error:
                self._failure, self._ask_again_at = error, self._clock.monotonic() + _ASK_AGAIN_SECONDS
                raise
            self._failure, self._renew_at = None, now + _RENEW_SECONDS
            return self._name

    def _add_key(self) -> None:
        with tempfile.TemporaryDirectory(prefix="iris-") as directory:
            file = Path(directory) / "key.pub"
            file.write_text(f"{self._public_key().strip()}\n", encoding="utf-8")
            self._gcloud.run(["compute", "os-login", "ssh-keys", "add", f"--key-file={file}", f"--ttl={_KEY_SECONDS}s"])

    def _account_name(self) -> str:
        """As gcloud chooses it: the one asked for, else the primary one, else the first."""
        what = "the OS Login profile"
        profile = parse_object(self._gcloud.run(["compute", "os-login", "describe-profile"]), what)
        accounts = [
            as_object(item, what, f"posixAccounts[{index}]")
            for index, item in enumerate(list_at(profile, "posixAccounts", what))
        ]
        if not accounts:
            raise InventoryError(
                "The OS Login profile of your account names no user.",
                advice="Ask for the role roles/compute.osAdminLogin, or see https://cloud.google.com/compute/docs/oslogin/set-up-oslogin.",
            )
        names = [text_at(account, "username", what) for account in accounts]
        if self._user in names:
            return self._user or ""
        primary = next(
            (name for name, one in zip(names, accounts, strict=True) if one.get("primary") is True), names[0]
        )
        if self._user is not None:
            _logger.warning("OS Login does not know you as %r (gcp.ssh.user) but as %r", self._user, primary)
        return primary
