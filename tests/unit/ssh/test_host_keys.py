from __future__ import annotations

from base64 import b64decode
from typing import TYPE_CHECKING

import pytest
from paramiko.pkey import PKey

from iris_adapters.ssh.host_keys import HostKey, HostKeys, KnownHosts, alias_of
from iris_core.config import HostKeyPolicy
from iris_core.errors import HostKeyError, HostUnreachableError, RateLimitedError
from iris_core.model import Host, HostRole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONTROLLER = Host(name="iris-controller-iris", role=HostRole.CONTROLLER, address="10.0.0.1", instance_id="4711")
WORKER = Host(name="s-w1", role=HostRole.WORKER, address="10.0.0.2", instance_id="99", worker_index=1)
A = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAtdrXUDQtOo4JAEhYzK3rWtEkRcZJtqsTSYaSQKZRc5"
B = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJOEMyxuRFSoxHQZ4SkXnYqRAFlQUBYtYUBdWzdFYoHb"


@pytest.fixture
def known(tmp_path: Path) -> KnownHosts:
    return KnownHosts(tmp_path / "iris" / "known_hosts")


class Api:
    """Reports these keys, and counts how often it was asked."""

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        self.asked = 0

    def __call__(self, _host: Host) -> Sequence[str]:
        self.asked += 1
        return self.lines


def key_of(line: str) -> HostKey:
    return HostKey(*line.split()[:2])


def parsed(line: str) -> PKey:
    kind, base64 = line.split()
    key: PKey = PKey.from_type_string(kind, b64decode(base64))
    return key


def lines_of(keys: Sequence[PKey]) -> list[str]:
    return [f"{key.get_name()} {key.get_base64()}" for key in keys]


class TestAlias:
    def test_a_controller_is_known_as_gcloud_knows_it(self) -> None:
        """By the id of the instance, so that a VM re-created under its name is another one."""
        assert alias_of(CONTROLLER) == "compute.4711"

    def test_each_host_of_a_slice_has_its_own(self) -> None:
        """The node's id and the worker's place."""
        assert alias_of(WORKER) == "tpu.99-1"

    def test_without_an_id_the_name_must_do(self) -> None:
        """It cannot be mistaken for an id."""
        assert alias_of(Host(name="w", role=HostRole.WORKER, address="")) == "name.w"


class TestReported:
    def test_reported_keys_are_believed_and_kept(self, known: KnownHosts) -> None:
        """The API is asked once; later the file answers."""
        api = Api(f"{A} root@host")
        keys = HostKeys(known, HostKeyPolicy.REPORTED, api)

        assert lines_of(keys.of(CONTROLLER)) == [A]
        assert lines_of(keys.of(CONTROLLER)) == [A]
        assert api.asked == 1
        assert known.path.read_text() == f"compute.4711 {A}\n"

    def test_the_file_is_for_its_owner_only(self, known: KnownHosts) -> None:
        """And so is its directory."""
        known.add_first("a", [key_of(A)])

        assert known.path.stat().st_mode & 0o777 == 0o600
        assert known.path.parent.stat().st_mode & 0o777 == 0o700

    def test_what_the_api_reports_later_for_the_same_instance_changes_nothing(self, known: KnownHosts) -> None:
        """The same life of a machine keeps its key."""
        HostKeys(known, HostKeyPolicy.REPORTED, Api(A)).of(CONTROLLER)

        assert lines_of(HostKeys(known, HostKeyPolicy.REPORTED, Api(B)).of(CONTROLLER)) == [A]

    def test_an_unknown_host_is_refused_with_what_to_do(self, known: KnownHosts) -> None:
        """Nothing is kept, so that the next attempt asks again."""
        api = Api()
        keys = HostKeys(known, HostKeyPolicy.REPORTED, api)

        with pytest.raises(HostKeyError, match="enable-guest-attributes"):
            keys.of(CONTROLLER)
        api.lines = (A,)

        assert lines_of(keys.of(CONTROLLER)) == [A]

    def test_an_api_that_cannot_be_asked_is_no_verdict_on_the_host(self, known: KnownHosts) -> None:
        """It is worth trying again."""

        def fail(_host: Host) -> Sequence[str]:
            raise RateLimitedError("too many requests")

        with pytest.raises(HostUnreachableError, match="too many requests"):
            HostKeys(known, HostKeyPolicy.REPORTED, fail).of(CONTROLLER)

    def test_lines_that_make_no_sense_are_refused(self, known: KnownHosts) -> None:
        """A host whose only known key cannot be read is not let pass as one without a key."""
        known.add_first("compute.4711", [HostKey("ssh-ed25519", "%%%")])

        for policy in HostKeyPolicy:
            with pytest.raises(HostKeyError, match="correct or remove"):
                HostKeys(known, policy, Api()).of(CONTROLLER)

    def test_a_file_that_cannot_be_read_is_an_error_that_names_it(self, known: KnownHosts) -> None:
        """Not a host without keys."""
        known.path.mkdir(parents=True)

        with pytest.raises(HostKeyError, match="known_hosts"):
            HostKeys(known, HostKeyPolicy.FIRST_USE, Api()).of(CONTROLLER)


class TestFirstUse:
    def test_the_first_key_is_kept_only_if_the_api_reports_none(self, known: KnownHosts) -> None:
        """What the API says comes first under either policy."""
        assert lines_of(HostKeys(known, HostKeyPolicy.FIRST_USE, Api(A)).of(CONTROLLER)) == [A]
        keys = HostKeys(known, HostKeyPolicy.FIRST_USE, Api())
        assert keys.of(WORKER) == []

        keys.believe_first(WORKER, parsed(B))

        assert lines_of(keys.of(WORKER)) == [B]

    def test_a_second_key_is_refused_with_the_command_that_forgets_the_first(self, known: KnownHosts) -> None:
        """Also when it was another process that saw the first."""
        HostKeys(KnownHosts(known.path), HostKeyPolicy.FIRST_USE, Api()).believe_first(WORKER, parsed(A))

        with pytest.raises(HostKeyError, match=r"known_hosts:1\).*ssh-keygen -R tpu\.99-1 -f .*known_hosts"):
            HostKeys(known, HostKeyPolicy.FIRST_USE, Api()).believe_first(WORKER, parsed(B))

        assert known.of("tpu.99-1") == (key_of(A),)


class TestFile:
    def test_a_change_by_another_process_is_seen(self, known: KnownHosts) -> None:
        """The file is read again when it is another one."""
        known.add_first("a", [key_of(A)])
        assert known.of("b") == ()

        KnownHosts(known.path).add_first("b", [key_of(B)])

        assert known.of("b") == (key_of(B),)

    def test_what_the_user_wrote_stays(self, known: KnownHosts) -> None:
        """Comments, foreign lines and a missing newline at the end."""
        known.path.parent.mkdir()
        known.path.write_text(f"# mine\na,c {A}\n@revoked * {B}")

        known.add_first("b", [key_of(B)])

        assert known.path.read_text() == f"# mine\na,c {A}\n@revoked * {B}\nb {B}\n"
        assert known.of("c") == (key_of(A),)
        assert known.of("*") == ()
