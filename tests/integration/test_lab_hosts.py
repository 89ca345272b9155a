"""Pretended hosts behave as hosts: ssh, Docker, start-up, preemption; and nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.cloud import ZONE
from tests.lab.images import IMAGE
from tests.lab.lab import Lab
from tests.lab.processes import all_processes, command_line, wait_until

if TYPE_CHECKING:
    from tests.lab.host import Host

pytestmark = pytest.mark.lab

_ZONE = f"--zone={ZONE}"
_GREETING = "#!/bin/sh\necho started $(hostname)\n"


def _ssh(lab: Lab, host: Host, command: str, timeout: float = 20.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _ssh_command(lab, host, command), capture_output=True, text=True, timeout=timeout, check=False
    )


def _ssh_command(lab: Lab, host: Host, command: str) -> list[str]:
    known_hosts = Path(lab.environment["HOME"]) / f"known_hosts_{host.name}"
    known_hosts.write_text(f"{host.address} ssh-ed25519 {host.host_key}\n", encoding="utf-8")
    options = ("BatchMode=yes", "IdentitiesOnly=yes", f"UserKnownHostsFile={known_hosts}", "StrictHostKeyChecking=yes")
    flags = [flag for option in options for flag in ("-o", option)]
    return ["ssh", "-F", "none", *flags, "-i", str(lab.ssh_key()), f"root@{host.address}", command]


def _leftovers(mark: str) -> list[str]:
    """Processes, mounts, cgroups and files that bear the mark."""
    commands = []
    for process in all_processes():
        line = " ".join(command_line(process.pid))
        if mark in line:
            commands.append(line)
    mounts = [line for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines() if mark in line]
    # Not Path.glob: it fails where a directory vanishes while it is walked through, as those of a lab that ends do.
    cgroups = [
        path for path, _, _ in os.walk("/sys/fs/cgroup") if Path(path).name.startswith("iris-lab-") and mark in path
    ]
    return commands + mounts + cgroups + [str(path) for path in Path(mark).glob("*")]


def test_gcloud_logs_in_to_an_instance(lab: Lab) -> None:
    """`gcloud compute ssh` makes a key, puts it into the metadata, believes the reported host key, and reaches the host."""
    lab.add_instance("vm")
    done = lab.gcloud(
        "compute", "ssh", "vm", _ZONE, "--command=hostname && sudo -n docker version --format '{{.Server.Os}}'"
    )
    known = Path(lab.environment["HOME"], ".ssh", "google_compute_known_hosts").read_text(encoding="utf-8")

    assert done.stdout.splitlines()[-2:] == ["vm", "linux"]
    assert lab.host("vm").host_key in known


def test_gcloud_logs_in_to_every_host_of_a_node(lab: Lab) -> None:
    """`gcloud compute tpus tpu-vm ssh --worker=all` reaches both hosts of a v5litepod-8."""
    lab.ssh_key()
    lab.add_node("n", accelerator_type="v5litepod-8")
    done = lab.gcloud("compute", "tpus", "tpu-vm", "ssh", "n", _ZONE, "--worker=all", "--command=hostname")

    assert set(done.stdout.split()) >= {host.name for host in lab.hosts("n")}
    assert len(lab.hosts("n")) == 2


def test_each_host_has_an_engine_of_its_own(lab: Lab) -> None:
    """A container is seen by the Docker of its own host over ssh with sudo, and not by another host's."""
    lab.add_node("n", accelerator_type="v5litepod-8")
    first, second = lab.hosts("n")
    first.docker("run", "--name", "iris-worker", IMAGE, "chatter", "3")
    seen = [_ssh(lab, host, "sudo -n docker logs iris-worker") for host in (first, second)]

    assert (seen[0].stdout, seen[0].stderr) == ("out 1\nout 2\nout 3\n", "err 1\nerr 2\nerr 3\n")
    assert seen[1].returncode != 0
    assert "No such container" in seen[1].stderr


def test_the_engines_api_is_reached_through_dial_stdio(lab: Lab) -> None:
    """`sudo -n docker system dial-stdio` over ssh carries the host's own engine API."""
    lab.add_node("n")
    host = lab.host("n")
    request = "GET /version HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n"
    command = _ssh_command(lab, host, "sudo -n docker system dial-stdio")
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=20, check=True)

    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert '"ApiVersion"' in done.stdout


def test_the_image_serves_as_a_controller(lab: Lab) -> None:
    """The image's httpd answers /api/version on the host's 127.0.0.1."""
    lab.add_instance("vm")
    serve = ("httpd", "-f", "-p", "127.0.0.1:10017", "-h", "/www")
    lab.host("vm").docker("run", "--detach", "--network=host", "--name=iris-controller", IMAGE, *serve)
    probe = "busybox wget -q -O - http://127.0.0.1:10017/api/version"
    wait_until(lambda: _ssh(lab, lab.host("vm"), probe).returncode == 0, 10, "the controller's first answer")

    assert json.loads(_ssh(lab, lab.host("vm"), probe).stdout)["ray_version"] == "lab"


def test_chatter_keeps_its_rate(lab: Lab) -> None:
    """`chatter 20 50` takes about 0.4 s, not none."""
    lab.add_node("n")
    began = time.monotonic()
    done = lab.host("n").docker("run", "--rm", "--network=none", IMAGE, "chatter", "20", "50")

    assert done.stdout.decode() == "".join(f"out {number}\n" for number in range(1, 21))
    assert done.stderr.decode() == "".join(f"err {number}\n" for number in range(1, 21))
    assert 0.3 < time.monotonic() - began < 30


def test_a_container_without_its_shim_has_ended(lab: Lab) -> None:
    """Also one whose shim hangs, which no `docker stop` would end; another container runs on."""
    lab.add_node("n")
    host = lab.host("n")
    chatter = ("--network=none", IMAGE, "chatter", "1000000", "10")
    stuck, other = (host.docker("run", "--detach", *chatter).stdout.decode().strip() for _ in range(2))
    pids = [host.docker("inspect", "--format={{.State.Pid}}", one).stdout.decode().strip() for one in (stuck, other)]
    host.signal_shim(stuck, signal.SIGSTOP)
    host.signal_shim(stuck, signal.SIGKILL)

    def running() -> set[str]:
        return set(host.docker("ps", "--quiet", "--no-trunc").stdout.decode().split())

    wait_until(lambda: running() == {other}, 20, "the container's end")
    assert [host.run("test", "-e", f"/proc/{pid}", check=False).returncode for pid in pids] == [1, 0]


def test_a_startup_script_runs_at_every_boot(lab: Lab) -> None:
    """A VM's start-up script runs when it is created and when it is rebooted, and the console shows it to gcloud."""
    lab.add_instance("vm", metadata={"startup-script": _GREETING})
    wait_until(lambda: "started vm" in lab.host("vm").serial_output(), 20, "the start-up script's line")
    lab.host("vm").reboot(_GREETING)
    wait_until(lambda: lab.host("vm").serial_output().count("started vm") == 2, 20, "the second line")
    shown = lab.gcloud("compute", "instances", "get-serial-port-output", "vm", _ZONE)

    assert shown.stdout.count("started vm") == 2


def test_a_reboot_keeps_the_disk(lab: Lab) -> None:
    """After a reboot the engine still has its containers, and their logs."""
    lab.add_node("n")
    lab.host("n").docker("run", "--name", "iris-worker", IMAGE, "chatter", "2")
    lab.host("n").reboot()

    assert lab.host("n").docker("logs", "iris-worker").stdout == b"out 1\nout 2\n"


def test_a_preempted_host_is_dead(lab: Lab) -> None:
    """A preemption ends sessions, engine and containers at once; ssh finds nothing listening."""
    lab.add_node("n")
    host = lab.host("n")
    host.docker("run", "--detach", "--name", "iris-worker", IMAGE, "chatter", "1000000", "10")
    pids = {process.pid for process in host.processes()}
    with subprocess.Popen(_ssh_command(lab, host, "sleep 1000"), stderr=subprocess.DEVNULL) as session:
        wait_until(lambda: any(p.command == "sleep" for p in host.processes()), 10, "the session's command")
        lab.cloud.preempt("n")
        status = session.wait(10)

    assert status == 255
    assert pids.isdisjoint(process.pid for process in all_processes())
    assert "refused" in _ssh(lab, host, "true").stderr


def test_a_frozen_session_is_silent_until_thawed(lab: Lab) -> None:
    """A frozen session's output stops and goes on after the thaw, while a new session works all the time."""
    lab.add_node("n")
    host = lab.host("n")
    command = _ssh_command(lab, host, "while true; do date +%s%N; sleep 0.05; done")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout is not None
        session.stdout.readline()
        host.freeze()
        frozen_at = time.time_ns()
        other = _ssh(lab, host, "echo still here")
        time.sleep(0.5)
        host.thaw()
        written = [int(session.stdout.readline()) for _ in range(30)]
        session.kill()

    assert other.stdout == "still here\n"
    assert max(written) > frozen_at + 500_000_000


def test_a_frozen_listener_answers_nobody(lab: Lab) -> None:
    """With the listener frozen too, a new connection is made and gets no banner."""
    lab.add_node("n")
    command = _ssh_command(lab, lab.host("n"), "true")
    lab.host("n").freeze(listener=True)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(command, timeout=1, check=False, capture_output=True)
    lab.host("n").thaw()

    assert subprocess.run(command, timeout=20, check=False, capture_output=True).returncode == 0


def test_dropped_sessions_break_off(lab: Lab) -> None:
    """A dropped session ends with 255, and the next one is welcome."""
    lab.add_node("n")
    host = lab.host("n")
    with subprocess.Popen(_ssh_command(lab, host, "sleep 1000"), stderr=subprocess.DEVNULL) as session:
        wait_until(lambda: any(p.command == "sleep" for p in host.processes()), 10, "the session's command")
        host.drop_sessions()
        status = session.wait(10)

    assert status == 255
    assert _ssh(lab, host, "echo again").stdout == "again\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_comes_back(lab: Lab, how: signal.Signals) -> None:
    """An engine that was stopped, or crashed, comes back with its containers' logs; with live-restore they run on."""
    lab.add_node("n")
    host = lab.host("n")
    host.configure_engine({"live-restore": True})
    host.restart_engine()
    host.docker("run", "--detach", "--name", "iris-worker", IMAGE, "sleep", "1000")
    before = host.docker("inspect", "--format={{.State.Pid}} {{.State.Running}}", "iris-worker").stdout
    host.restart_engine(how)

    assert host.docker("inspect", "--format={{.State.Pid}} {{.State.Running}}", "iris-worker").stdout == before
    assert before.endswith(b" true\n")


def test_a_deleted_node_leaves_nothing(lab: Lab) -> None:
    """Deleting a node ends its hosts, and their addresses and disks are gone."""
    lab.add_node("n")
    host = lab.host("n")
    processes = {process.pid for process in host.processes()}
    lab.gcloud("compute", "tpus", "tpu-vm", "delete", "n", _ZONE, "--quiet")

    assert processes.isdisjoint(process.pid for process in all_processes())
    assert not list((lab.directory / "hosts").iterdir())


def test_a_closed_lab_leaves_nothing() -> None:
    """After a lab with running containers is closed there is no process, mount, cgroup, thread's work or file of it."""
    with Lab() as lab:
        lab.add_node("n", accelerator_type="v5litepod-8")
        for host in lab.hosts("n"):
            host.docker("run", "--detach", IMAGE, "sleep", "1000")
        directory, cgroup = lab.directory, lab.cgroup
        assert _leftovers(str(directory))
        assert _leftovers(cgroup)

    assert _leftovers(str(directory)) == []
    assert _leftovers(cgroup) == []
    assert not directory.exists()


def test_a_killed_lab_leaves_nothing() -> None:
    """When the process that holds a lab is killed, hosts, containers and files go too."""
    script = (
        "import time; from tests.lab.lab import Lab; lab = Lab(); lab.add_node('n'); "
        f"lab.host('n').docker('run', '--detach', '{IMAGE}', 'sleep', '1000'); "
        "print(lab.directory, lab.cgroup, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        marks = holder.stdout.readline().split()
        assert all(_leftovers(mark) for mark in marks)
        holder.kill()

    wait_until(lambda: not any(_leftovers(mark) for mark in marks), 20, "the end of all that the lab had started")
    assert not Path(marks[0]).exists()


def test_the_lab_by_hand(tmp_path: Path) -> None:
    """`python -m tests.lab` prints an environment in which gcloud works, and ends by itself on SIGINT."""
    with subprocess.Popen([sys.executable, "-m", "tests.lab"], stdout=subprocess.PIPE, text=True) as by_hand:
        assert by_hand.stdout is not None
        exports = tmp_path / "exports"
        with exports.open("w", encoding="utf-8") as file:
            for line in by_hand.stdout:
                file.write(line)
                if line.startswith("#"):
                    break
        command = f". {exports}; gcloud compute tpus tpu-vm list {_ZONE} --format=json"
        listed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=os.environ)
        by_hand.send_signal(signal.SIGINT)
        status = by_hand.wait(20)

    assert json.loads(listed.stdout) == []
    assert status == 0
