"""What the SSH adapter does with files, sockets and ssh-keygen of this machine."""

from __future__ import annotations

import shutil
import socket
import stat
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from paramiko.message import Message
from paramiko.pkey import PKey

from iris_adapters.fakes import FakeClock
from iris_adapters.ssh.attempt import Attempt
from iris_adapters.ssh.dial import dial
from iris_adapters.ssh.host_keys import HostKey, KnownHosts
from iris_adapters.ssh.keys import KeyPair
from iris_core.errors import ConfigError
from tests.support.sshd import make_key

if TYPE_CHECKING:
    from pathlib import Path

needs_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def add_ten(known: KnownHosts, name: str) -> None:
    for number in range(10):
        known.add_first(f"{name}-{number}", [HostKey("ssh-ed25519", "AAAA")])


class TestKnownHosts:
    def test_threads_and_processes_lose_nothing_of_each_other(self, tmp_path: Path) -> None:
        """Everything that was added is there afterwards, each line whole."""
        known = KnownHosts(tmp_path / "iris" / "known_hosts")
        code = (
            "import sys; from pathlib import Path; from iris_adapters.ssh.host_keys import HostKey, KnownHosts\n"
            "known = KnownHosts(Path(sys.argv[1]))\n"
            "for n in range(20): known.add_first(f'process-{n}', [HostKey('ssh-ed25519', 'AAAA')])\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(known.path)], env={"PYTHONPATH": ":".join(sys.path)}
        )
        threads = [threading.Thread(target=partial(add_ten, known, name)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert process.wait(20) == 0
        assert len(known.path.read_text().splitlines()) == 50
        assert {path.name for path in known.path.parent.iterdir()} == {"known_hosts", "known_hosts.lock"}


class TestDial:
    def test_the_socket_notices_silence_and_does_not_wait_to_fill_packets(self) -> None:
        """TCP_USER_TIMEOUT is the time a peer may be silent, in milliseconds."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            attempt = Attempt(5, FakeClock().monotonic)
            sock = dial("127.0.0.1", listener.getsockname()[1], attempt, 9.5)

            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9500
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1

            attempt.end()
            assert sock.fileno() == -1

    def test_a_refusal_is_passed_on_and_leaves_no_socket(self) -> None:
        """An unclosed socket would be a warning, and warnings are errors here."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]

        with pytest.raises(ConnectionRefusedError):
            dial("127.0.0.1", port, Attempt(5, FakeClock().monotonic), 10)


@needs_keygen
class TestKeyPair:
    def test_a_missing_pair_is_made_as_gcloud_makes_it(self, tmp_path: Path) -> None:
        """RSA with 3,072 bits, readable by nobody else, without a passphrase."""
        pair = KeyPair(str(tmp_path / "ssh" / "key"))

        public = pair.public_key()
        private = pair.private_key()

        assert public.startswith("ssh-rsa ")
        assert private is not None
        assert private.get_bits() == 3072
        assert stat.S_IMODE(pair.path.stat().st_mode) == 0o600
        assert sorted(path.name for path in pair.path.parent.iterdir()) == ["key", "key.pub"]
        assert public.split()[1] == private.get_base64()

    def test_an_existing_pair_is_left_alone(self, tmp_path: Path) -> None:
        """Also where only the private key is there."""
        first = KeyPair(str(tmp_path / "key"))
        public = first.public_key()
        first.public_path.unlink()

        assert KeyPair(str(tmp_path / "key")).public_key().split()[:2] == public.split()[:2]
        assert not first.public_path.exists()

    def test_a_file_that_is_no_key_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        """It is the user's file, so it is not replaced."""
        (tmp_path / "key").write_text("not a key")

        with pytest.raises(ConfigError, match="key cannot be read"):
            KeyPair(str(tmp_path / "key")).private_key()

    @pytest.mark.parametrize("options", [("rsa",), ("rsa", "-m", "PEM"), ("ed25519",), ("ecdsa",)], ids=" ".join)
    def test_a_key_is_read_as_paramiko_reads_it(self, tmp_path: Path, options: tuple[str, ...]) -> None:
        """With a certificate beside it, of any kind and in any format; what is protected by a passphrase is left to ssh-agent."""
        kind, *format_options = options
        make_key(tmp_path / "authority")
        for name, passphrase in (("plain", ""), ("protected", "secret"), ("certified", "")):
            make_key(tmp_path / name, kind, passphrase, format_options)
        sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "me", str(tmp_path / "certified.pub")]
        subprocess.run(sign, check=True)

        assert KeyPair(str(tmp_path / "protected")).private_key() is None
        for name in ("plain", "certified"):
            key = KeyPair(str(tmp_path / name)).private_key()
            expected = PKey.from_path(tmp_path / name)
            assert key is not None
            assert isinstance(key, type(expected))
            assert key == expected
            assert key.public_blob == expected.public_blob
            assert (key.public_blob is None) == (name == "plain")
            public = PKey.from_type_string(expected.get_name(), expected.asbytes())
            assert public.verify_ssh_sig(b"data", Message(key.sign_ssh_data(b"data").asbytes()))

    def test_a_damaged_key_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        """Hosts would only refuse it, and what helps then would not help here."""
        numbers = rsa.generate_private_key(65537, 2048).private_numbers()
        damaged = rsa.RSAPrivateNumbers(
            numbers.p, numbers.q, numbers.d ^ 2, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
        ).private_key(unsafe_skip_rsa_key_validation=True)
        (tmp_path / "key").write_bytes(
            damaged.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, serialization.NoEncryption())
        )

        with pytest.raises(ConfigError, match="key cannot be read"):
            KeyPair(str(tmp_path / "key")).private_key()

    def test_gclouds_key_is_the_default(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """So that hosts which gcloud prepared let iris in."""
        monkeypatch.setenv("HOME", str(tmp_path))

        assert KeyPair().path == tmp_path / ".ssh" / "google_compute_engine"
