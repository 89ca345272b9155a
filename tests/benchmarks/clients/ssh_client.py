"""A process `ssh HOST docker logs -f > FILE` for each host, with OpenSSH's defaults but for what names key, user and host keys."""

from __future__ import annotations

import signal
import subprocess
import time

from tests.benchmarks.clients import say_stopped, wait_for_start, wait_for_stop

_AT_ONCE = 32  # that have no line yet: as iris connects


def ssh_argv(
    *, port: int, user: str, key_file: str, known_hosts: str, address: str, options: tuple[str, ...] = ()
) -> list[str]:
    """The command that logs in on a host."""
    settings = {
        "Port": port,
        "User": user,
        "IdentityFile": key_file,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts,
        "BatchMode": "yes",
    }
    return ["ssh", "-F", "none", *(f"-o{name}={value}" for name, value in settings.items()), *options, address]


def main() -> None:
    """Run the processes until SIGTERM."""
    task = wait_for_start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the processes would inherit it
    known_hosts = str(task.known_hosts())
    processes: list[subprocess.Popen[bytes]] = []
    for number, address in enumerate(task.addresses):
        with task.path(number).open("wb") as file:
            argv = ssh_argv(
                port=task.port, user=task.user, key_file=task.key_file, known_hosts=known_hosts, address=address
            )
            processes.append(subprocess.Popen([*argv, task.remote_command()], stdin=subprocess.DEVNULL, stdout=file))
        while number >= _AT_ONCE and not task.path(number - _AT_ONCE).stat().st_size:
            time.sleep(0.01)
    wait_for_stop()
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()
    say_stopped()


if __name__ == "__main__":
    main()
