"""A pretended host: an sshd and a Docker engine of its own, in namespaces of their own, on a loopback address of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.images import IMAGE, image_archive
from tests.lab.processes import Process, all_processes, command_line, processes_in_namespace_of, wait_until
from tests.lab.requirements import DOCKER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.lab.network import Network

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_INIT = Path(__file__).with_name("host_init.sh")
_UNSHARE = ("unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--mount-proc", "--propagation=private")
_ACCOUNT_FILES = ("passwd", "shadow")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
_SSHD_CONFIG = """\
ListenAddress {address}:{port}
HostKey {disk}/etc/host_key
AuthorizedKeysFile {disk}/etc/keys/%u
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
MaxStartups 1000
MaxSessions 1000
AllowStreamLocalForwarding {sockets}
SetEnv PATH=/usr/sbin:/usr/bin:/sbin:/bin
Subsystem sftp internal-sftp
"""


class Host:
    """One host. It is off until `boot`; its disk (a directory) outlives `kill` and `reboot`.

    Everything on it runs in a PID namespace whose first process ends with this process, so that nothing outlives the lab.

    Args:
        disk: a directory of its own, made if it is missing.
        name: its host name.
        address: the loopback address that its sshd listens on.
        port: sshd's.
        cgroup: the parent of its containers' cgroups, beginning with `/`.
        engine_path: a directory with another Docker engine's programs (dockerd, containerd, its shim, runc). Empty: the machine's own.
        network: what gives it a network of its own with this address. None: it shares the network of whoever boots it.
        forwards_sockets: whether its sshd connects clients to Unix sockets.
    """

    def __init__(
        self,
        disk: Path,
        name: str,
        address: str,
        *,
        port: int,
        cgroup: str,
        engine_path: str = "",
        network: Network | None = None,
        forwards_sockets: bool = True,
    ) -> None:
        self.name = name
        self.address = address
        self.port = port
        self._disk = disk
        self._cgroup = cgroup
        self._engine_path = engine_path
        self._network = network
        self._rack: subprocess.Popen[bytes] | None = None  # `unshare`, the parent of the host's first process
        self._init = 0
        keys = disk / "etc" / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        key_file = disk / "etc" / "host_key"
        if not key_file.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key_file], check=True)
        for file in _ACCOUNT_FILES:
            copy = disk / "etc" / file
            if not copy.exists():
                copy.write_bytes(Path("/etc", file).read_bytes())
                copy.chmod(0o644 if file == "passwd" else 0o600)
        sockets = "yes" if forwards_sockets else "no"
        config = _SSHD_CONFIG.format(address=address, port=port, disk=disk, sockets=sockets)
        (disk / "etc" / "sshd_config").write_text(config, encoding="utf-8")

    @property
    def host_key(self) -> str:
        """Its public key, base64, of algorithm ssh-ed25519."""
        return (self._disk / "etc" / "host_key.pub").read_text(encoding="utf-8").split()[1]

    @property
    def is_on(self) -> bool:
        """Whether it has been booted and not been killed since."""
        return self._rack is not None

    def processes(self) -> list[Process]:
        """All that runs on it, in the machine's own process ids."""
        return processes_in_namespace_of(self._init) if self.is_on else []

    def authorize(self, ssh_keys: Iterable[str]) -> None:
        """Let these in and no others, from now on: lines of `ssh-keys` metadata, `user:ssh-rsa AAAA…`."""
        by_user: dict[str, list[str]] = {}
        for line in ssh_keys:
            user, separator, key = line.strip().partition(":")
            if separator:
                by_user.setdefault(user, []).append(key)
        keys = self._disk / "etc" / "keys"
        for file in keys.iterdir():
            if file.name not in by_user:
                file.unlink()
        for user, lines in by_user.items():
            self._add_account(user)
            (keys / user).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def boot(self, startup_script: str = "") -> None:
        """Start it; return when sshd and the engine answer. The start-up script runs on, its output goes to the console.

        Raises:
            TimeoutError: it does not start; the logs are in the message.
        """
        assert not self.is_on, f"{self.name} is on already"
        own_address = "" if self._network is None else self.address
        arguments = [str(self._disk), self.name, self._cgroup, self._engine_path, own_address]
        console = (self._disk / "console").open("ab")
        with console:
            self._rack = subprocess.Popen(
                [*_UNSHARE, *([] if self._network is None else ["--net"]), "sh", str(_INIT), *arguments],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,  # Ctrl-C in a terminal is for the test, which ends its hosts itself
            )
        rack = self._rack.pid
        wait_until(lambda: self._find_init(rack), _START_SECONDS, f"the start of {self.name}")
        if self._network is not None:
            self._network.attach(self._init, self.address)
        self._await_engine()
        wait_until(self._sshd_answers, _START_SECONDS, f"the start of sshd on {self.name}: {self._log('sshd.log')}")
        if not self.docker("image", "ls", "--quiet", IMAGE).stdout:
            self.docker("load", stdin=image_archive())
        if startup_script:
            script = self._disk / "etc" / "startup-script"
            script.write_text(startup_script, encoding="utf-8")
            script.chmod(0o700)
            self.run("sh", "-c", f"setsid {script} >>{self._disk}/console 2>&1 </dev/null &")

    def kill(self) -> None:
        """End everything on it at once, as a preemption does; return when no process is left. Off already is fine."""
        if self._rack is None:
            return
        rack, self._rack = self._rack, None
        # The namespace's first process, not `unshare`: unshare only returns once the kernel has ended all the others.
        _signal(self._init, signal.SIGKILL)
        rack.wait(_STOP_SECONDS)
        assert rack.stdin is not None
        rack.stdin.close()

    def reboot(self, startup_script: str = "") -> None:
        """Kill and boot. The disk, with the engine's containers and images, is as it was."""
        self.kill()
        self.boot(startup_script)

    def wipe(self) -> None:
        """Kill it and remove its disk."""
        self.kill()
        shutil.rmtree(self._disk)

    def run(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run a command on the host, not through ssh."""
        command = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--uts", "--net", "--wd=/root", "--", *argv]
        return _run(command, check=check, environment=_ENVIRONMENT)

    def docker(self, *arguments: str, stdin: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run the docker client against the host's engine, not through ssh.

        Raises:
            AssertionError: it failed, and `check` was not False; with its errors.
        """
        return _run([DOCKER, "-H", f"unix://{self.engine_socket}", *arguments], stdin=stdin, check=check)

    @property
    def engine_socket(self) -> str:
        """Its engine's socket, as seen from outside the host."""
        return f"/proc/{self._init}/root/run/docker.sock"

    def serial_output(self) -> str:
        """All that its start-up scripts have written, over all boots."""
        return self._log("console")

    def freeze(self, *, listener: bool = False) -> None:
        """Stop the sshd processes of open sessions: connected, they fall silent. With `listener`, new ones get no answer either."""
        for process in self._sshds(listener=listener):
            _signal(process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo `freeze`."""
        for process in self._sshds(listener=True):
            _signal(process.pid, signal.SIGCONT)

    def drop_sessions(self) -> None:
        """End the open ssh sessions: their connections break off. New ones are welcome."""
        for process in self._sshds(listener=False):
            _signal(process.pid, signal.SIGKILL)

    def stop_engine(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the Docker engine, or let it crash (SIGKILL); return when it is gone."""
        [engine] = [process for process in self.processes() if process.command == "dockerd"]
        _signal(engine.pid, how)
        wait_until(lambda: engine not in all_processes(), _STOP_SECONDS, f"the end of the engine on {self.name}")

    def start_engine(self) -> None:
        """Start the Docker engine again; return when it answers."""
        self.run("sh", "-c", f"setsid {self._disk}/etc/start-engine </dev/null >/dev/null 2>&1 &")
        self._await_engine()

    def restart_engine(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop and start the Docker engine; its containers go by their restart policies."""
        self.stop_engine(how)
        self.start_engine()

    def signal_shim(self, container_id: str, number: signal.Signals) -> None:
        """Signal what stands between the engine and a container.

        When it is killed, containerd sees it, ends the container's processes and tells the engine.
        """
        for process in self.processes():
            if process.command.startswith("containerd-shim") and container_id in command_line(process.pid):
                _signal(process.pid, number)

    def configure_engine(self, settings: Mapping[str, object]) -> None:
        """Write the engine's daemon.json (`{"live-restore": True}`); it holds from the next start of the engine on."""
        (self._disk / "etc" / "daemon.json").write_text(json.dumps(settings), encoding="utf-8")

    def _add_account(self, user: str) -> None:
        """Let there be one of this name, as Google's guest agent does. It is another name of root: the disk is for root only."""
        passwd, shadow = (self._disk / "etc" / file for file in _ACCOUNT_FILES)
        if not any(line.startswith(f"{user}:") for line in passwd.read_text(encoding="utf-8").splitlines()):
            for file, line in ((passwd, f"{user}:x:0:0::/root:/bin/sh\n"), (shadow, f"{user}:*:19000:0:99999:7:::\n")):
                with file.open("a", encoding="utf-8") as appended:
                    appended.write(line)

    def _find_init(self, rack: int) -> bool:
        """Whether `unshare` has started the first process, which has gone on to be the script's shell."""
        self._init = next((p.pid for p in all_processes() if p.parent == rack and p.command == "sh"), 0)
        return self._init != 0

    def _sshds(self, *, listener: bool) -> list[Process]:
        sshds = [process for process in self.processes() if process.command.startswith("sshd")]
        return [process for process in sshds if listener or process.parent != self._init]

    def _await_engine(self) -> None:
        try:
            wait_until(self._engine_answers, _START_SECONDS, f"the start of the engine on {self.name}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self._log('engine.log')[-2000:]} {self.serial_output()[-2000:]}") from None

    def _engine_answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as engine:
            engine.settimeout(5.0)
            try:
                engine.connect(self.engine_socket)
                engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return engine.recv(64).split(b" ")[1:2] == [b"200"]
            except OSError:
                return False

    def _sshd_answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=5.0) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _log(self, name: str) -> str:
        file = self._disk / name
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended by itself
        os.kill(pid, number)


def _run(
    command: list[str], *, stdin: bytes = b"", check: bool, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(command, input=stdin, capture_output=True, check=False, env=environment)
    if check and done.returncode:
        raise AssertionError(f"{command} exited {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done
