"""Who runs this iris: the owner of what it creates, where the configuration names none."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from iris_core.errors import InventoryError
from iris_core.labels import owner_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_adapters.gcloud.command import GcloudRunner


class OwnerLookup:
    """Answers with a label's value: the configured one, or gcloud's account, or else the local user. Asks once.

    Args:
        configured: from the configuration; None: to be found out.
        gcloud: knows its account. It is not asked over the network for it.
        local_user: the name of the local user, asked where gcloud has no account; may raise.
    """

    def __init__(self, configured: str | None, gcloud: GcloudRunner, local_user: Callable[[], str]) -> None:
        self._gcloud = gcloud
        self._local_user = local_user
        self._lock = threading.Lock()
        self._owner = configured

    def __call__(self) -> str:
        """The owner.

        Raises:
            InventoryError: gcloud does not run, or says something that it should not.
        """
        with self._lock:
            if self._owner is None:
                self._owner = owner_value(self._account() or self._local_user())
            return self._owner

    def _account(self) -> str:
        """The account that gcloud acts as; empty if it has none, of which it prints `[]` (seen with SDK 528)."""
        output = self._gcloud.run(["config", "get", "account"])
        try:
            account = json.loads(output)
        except ValueError as error:
            raise InventoryError(
                f"gcloud's answer about its account is not JSON: {output.strip()[:200]!r}.",
                advice="Name an owner in the configuration.",
            ) from error
        return account if isinstance(account, str) else ""
