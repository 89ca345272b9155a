"""OS Login v1: whom Google's hosts let in. One account, the one that the lab's gcloud acts for."""

from __future__ import annotations

import base64
import hashlib
import threading
from typing import TYPE_CHECKING
from urllib.parse import unquote

from tests.lab.http_shapes import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.cloud import Cloud
    from tests.lab.http_shapes import Json, Request, Router

ACCOUNT = "lab@example.com"


class OsLoginProfile:
    """The account's profile.

    Attributes:
        usernames: what the account is called on hosts; the last one is its primary name.
        keys: by fingerprint, in Google's shape.
    """

    def __init__(self) -> None:
        self.usernames: Sequence[str] = ("old_lab_example_com", "lab_example_com")
        self.keys: Mapping[str, Json] = {}
        self._lock = threading.Lock()

    @property
    def ssh_keys(self) -> list[str]:
        """In the form of the metadata's: `user:TYPE BASE64`, for every name of the account."""
        return [f"{user}:{key['key']}" for user in self.usernames for key in self.keys.values()]

    def shape(self) -> Json:
        """As the API writes it."""
        name = f"users/{ACCOUNT}"
        accounts = [
            {
                "primary": user == self.usernames[-1],
                "username": user,
                "uid": str(1000 + number),
                "gid": str(1000 + number),
                "homeDirectory": f"/home/{user}",
                "shell": "/bin/bash",
                "operatingSystemType": "LINUX",
                "name": f"{name}/projects/lab-project",
                "accountId": "lab-project",
            }
            for number, user in enumerate(self.usernames)
        ]
        keys = {"sshPublicKeys": dict(self.keys)} if self.keys else {}
        return {"name": "104111111111111111111", **({"posixAccounts": accounts} if accounts else {}), **keys}

    def add(self, sent: Json) -> None:
        """Take a key, or another end of its life."""
        key = sent["key"].strip()
        fingerprint = hashlib.sha256(base64.b64decode(key.split()[1])).hexdigest()
        shape = {"key": key, "fingerprint": fingerprint, "name": f"users/{ACCOUNT}/sshPublicKeys/{fingerprint}"}
        if "expirationTimeUsec" in sent:
            shape["expirationTimeUsec"] = sent["expirationTimeUsec"]
        with self._lock:
            self.keys = {**self.keys, fingerprint: shape}


class OsLoginUsers:
    """Answers for `/v1/users/U…` from the cloud's profile."""

    def __init__(self, cloud: Cloud, router: Router) -> None:
        self._cloud = cloud
        router.add("GET", "/v1/users/{user}/loginProfile", self.profile)
        router.add("POST", "/v1/users/{user}:importSshPublicKey", self.import_key)

    def profile(self, _request: Request, user: str) -> Json:
        """The profile."""
        _check(user)
        return self._cloud.os_login.shape()

    def import_key(self, request: Request, user: str) -> Json:
        """Add a key to it."""
        _check(user)
        self._cloud.os_login.add(request.body)
        self._cloud.machines.metadata_changed(None)  # the hosts ask at each login
        return {"loginProfile": self._cloud.os_login.shape()}


def _check(user: str) -> None:
    if unquote(user) != ACCOUNT:
        raise ApiError(403, "The caller does not have permission", status_name="PERMISSION_DENIED")
