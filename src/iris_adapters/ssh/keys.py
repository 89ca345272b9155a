"""The key pair that iris logs in with: gcloud's own, unless told otherwise."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from paramiko.pkey import PKey
from paramiko.rsakey import RSAKey
from paramiko.ssh_exception import PasswordRequiredException

from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

GCLOUD_KEY_FILE: Final = "~/.ssh/google_compute_engine"
_KEYGEN_SECONDS: Final = 60.0
_KEY = "gcp.ssh.key_file"


class KeyPair:
    """A private key file and the public one beside it.

    Args:
        key_file: the private key; None: `~/.ssh/google_compute_engine`, which gcloud uses too.

    Attributes:
        path: the private key's file.
    """

    def __init__(self, key_file: str | None = None) -> None:
        self.path = Path(key_file or GCLOUD_KEY_FILE).expanduser()
        self._lock = threading.Lock()
        self._private_key: PKey | None = None
        self._is_read = False

    @property
    def public_path(self) -> Path:
        """The public key's file."""
        return self.path.with_name(f"{self.path.name}.pub")

    def ensure(self) -> None:
        """Make the pair if there is none: RSA with 3,072 bits and without passphrase, as `gcloud compute ssh` does.

        Raises:
            ConfigError: it cannot be made.
        """
        with self._lock:
            if not self.path.exists():
                self._make()

    def public_key(self) -> str:
        """The public key as one line, `TYPE BASE64 COMMENT`; the pair is made if there is none.

        Raises:
            ConfigError: it cannot be made or read.
        """
        self.ensure()
        try:
            if not self.public_path.exists():
                return self._keygen(["-y", "-P", "", "-f", str(self.path)]).strip()
            return self.public_path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the public key {self.public_path} cannot be read: {error}", key_path=_KEY) from error

    def private_key(self) -> PKey | None:
        """The private key; None if it is protected by a passphrase, so that only ssh-agent can use it.

        Raises:
            ConfigError: it cannot be made or read.
        """
        self.ensure()
        with self._lock:
            if not self._is_read:
                self._private_key = self._read()
                self._is_read = True
            return self._private_key

    def _read(self) -> PKey | None:
        try:
            key = _read_key(self.path)
        except (PasswordRequiredException, TypeError):  # TypeError: cryptography's word for a missing passphrase
            return None
        except Exception as error:  # Paramiko and the library below it have a dozen kinds for it
            raise ConfigError(
                f"the private key {self.path} cannot be read ({error}): name another one, or move it away and a new pair is made",
                key_path=_KEY,
            ) from error
        else:
            return key

    def _make(self) -> None:
        """Make it beside its place and move it there, so that two processes at it end up with one whole pair."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".iris-key-") as directory:
                made = Path(directory, self.path.name)
                self._keygen(["-q", "-t", "rsa", "-b", "3072", "-N", "", "-C", _comment(), "-f", str(made)])
                try:
                    os.link(made, self.path)
                except FileExistsError:
                    return  # the other process was quicker
                made.with_name(f"{made.name}.pub").replace(self.public_path)
        except OSError as error:
            raise ConfigError(f"no key pair can be made in {self.path.parent}: {error}", key_path=_KEY) from error

    def _keygen(self, arguments: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                ["ssh-keygen", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_KEYGEN_SECONDS,
                check=True,
            )
        except FileNotFoundError as error:
            raise ConfigError(
                f"{self.path} does not exist and ssh-keygen, which could make it, is not installed: install OpenSSH's client",
                key_path=_KEY,
            ) from error
        except subprocess.CalledProcessError as error:
            raise ConfigError(f"ssh-keygen failed for {self.path}: {error.stderr}", key_path=_KEY) from error
        except subprocess.TimeoutExpired as error:
            raise ConfigError(f"ssh-keygen did not end for {self.path}: run it yourself", key_path=_KEY) from error
        return done.stdout


class _Key(RSAKey):
    """Takes its numbers out of OpenSSL once, not thrice for each connection."""

    @cached_property
    def public_numbers(self) -> RSAPublicNumbers:
        """See `RSAKey`."""
        numbers: RSAPublicNumbers = super().public_numbers
        return numbers


def _read_key(path: Path) -> PKey:
    """What Paramiko's `PKey.from_path` reads, in less than its quarter of a second: that proves twice that an RSA key's primes are some.

    Raises:
        Exception: of a dozen kinds.
    """
    loaded: object = None
    with suppress(ValueError):  # PEM, a certificate, or no key at all: Paramiko knows
        loaded = load_ssh_private_key(path.read_bytes(), None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(loaded, RSAPrivateKey):
        other: PKey = PKey.from_path(path)
        return other
    try:
        loaded.public_key().verify(loaded.sign(b"", PKCS1v15(), SHA256()), b"", PKCS1v15(), SHA256())
    except InvalidSignature as error:
        raise ValueError("its parts do not belong together") from error
    key = _Key(key=loaded)
    certificate = path.with_name(f"{path.name}-cert.pub")
    if certificate.exists():
        key.load_certificate(str(certificate))
    return key


def _comment() -> str:
    """`user@machine`, as gcloud and ssh-keygen have it."""
    user = os.environ.get("USER") or os.environ.get("LOGNAME") or "iris"
    return f"{user}@{os.uname().nodename}"
