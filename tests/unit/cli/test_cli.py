"""The `iris` command, in this process and on fakes: what it prints, where, and what it exits with."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.cli import cluster as module
from iris_adapters.cli import main as main_module
from iris_adapters.controller.local_controller import LocalController
from iris_adapters.controller.wire import JobRequest
from iris_adapters.fakes import FakeInventory, RunScript, make_controller, make_slice
from iris_adapters.smoke_test.python_logs import landed_python_logs
from iris_core.config import LocalConfig, LogConfig
from iris_core.errors import CleanupIncompleteError, InventoryToolError, PermissionDeniedError
from iris_core.model import CommandResult
from tests.unit.cli.rig import CONTROLLER, GCP

if TYPE_CHECKING:
    from tests.unit.cli.rig import Rig


class TestTheCommandLine:
    def test_the_version_is_the_packages(self, rig: Rig) -> None:
        """`iris --version` prints it."""
        assert rig.run("--version") == (0, "iris 0.1.0\n", "")

    @pytest.mark.parametrize(
        "arguments", [["nonsense"], ["status"], ["smoke-test", "--timeout", "0"], ["job", "list"], ["--nonsense"]]
    )
    def test_a_wrong_command_line_exits_2(self, rig: Rig, arguments: list[str]) -> None:
        """Unknown commands and options, missing and impossible values."""
        code, out, err = rig.run(*arguments)
        assert (code, out) == (2, "")
        assert "Error" in err

    def test_an_error_is_one_message_on_stderr(self, rig: Rig) -> None:
        """The error's own words and its exit code; no traceback."""
        rig.inventory.fail_next("list_resources", PermissionDeniedError("may not look"))
        assert rig.run("status", "-c", rig.config) == (PermissionDeniedError.exit_code, "", "iris: may not look\n")

    def test_debug_shows_the_traceback_too(self, rig: Rig) -> None:
        """For bug reports."""
        rig.inventory.fail_next("list_resources", PermissionDeniedError("may not look"))
        code, _, err = rig.run("--debug", "status", "-c", rig.config)
        assert code == PermissionDeniedError.exit_code
        assert "Traceback" in err
        assert err.endswith("iris: may not look\n")

    def test_the_configuration_may_come_from_the_environment(self, cluster: Rig) -> None:
        """IRIS_CONFIG saves the option."""
        cluster.monkeypatch.setenv("IRIS_CONFIG", str(cluster.config))
        assert cluster.run("status")[0] == 0

    @pytest.mark.parametrize(
        "command", [["up"], ["down"], ["status"], ["cleanup"], ["logs", "stream", "x"], ["job", "list"]]
    )
    def test_a_local_cluster_is_out_of_reach_of_other_processes(self, rig: Rig, command: list[str]) -> None:
        """It lives in the process that starts it, and that is said."""
        rig.config.write_text("mode: local\n")
        code, _, err = rig.run(*command, "-c", rig.config)
        assert code == 2
        assert "lives only in the process that starts it" in err

    def test_sigterm_unwinds(self, cluster: Rig, tmp_path: Path) -> None:
        """A command that is told to end closes in order and exits 143."""
        cluster.clock.waits.append(lambda: signal.raise_signal(signal.SIGTERM))
        code, _, _ = cluster.run("connect", "-c", cluster.config, "--log-dir", tmp_path / "logs")
        assert code == 143
        assert (tmp_path / "logs").is_dir()


class TestConfigCheck:
    @pytest.mark.parametrize("command", [["config", "check", ""], ["status", "-c", ""], ["job", "list", "-c", ""]])
    def test_an_empty_name_is_no_file(self, rig: Rig, command: list[str]) -> None:
        """Nor the working directory, which Python takes it for."""
        code, _, err = rig.run(*command)
        assert code == 2
        assert "it is empty: name a YAML file" in err

    def test_a_right_file_is_told_in_a_line(self, rig: Rig) -> None:
        """What it says, for a glance."""
        code, out, _ = rig.run("config", "check", rig.config)
        assert code == 0
        assert "is right: the cluster iris in project, us-central1-a; worker slices: none" in out

    def test_a_wrong_file_exits_2(self, rig: Rig) -> None:
        """With file, line and key path."""
        rig.config.write_text("mode: gcp\nlable_prefix: x\n")
        code, _, err = rig.run("config", "check", rig.config)
        assert code == 2
        assert f"{rig.config}:2: lable_prefix: there is no such key; did you mean label_prefix?" in err


class TestCluster:
    def test_up_starts_and_leaves_it_running(self, rig: Rig) -> None:
        """The controller is there afterwards, and the user knows what it costs."""
        code, out, err = rig.run("up", "-c", rig.config)
        assert code == 0
        assert out.startswith("http://")
        assert "costs money" in err
        assert rig.inventory.names() == [CONTROLLER]

    def test_down_deletes_it(self, cluster: Rig) -> None:
        """Controller and slices."""
        assert cluster.run("down", "-c", cluster.config)[0] == 0
        assert cluster.inventory.names() == []

    def test_status_is_a_table_or_json(self, cluster: Rig) -> None:
        """People and programs get the same facts."""
        _, out, _ = cluster.run("status", "-c", cluster.config)
        heading, *rows = out.splitlines()
        assert heading.split() == ["NAME", "KIND", "GROUP", "STATE", "HOSTS", "ADDRESS", "OWNER", "AGE"]
        assert [row.split()[0] for row in rows] == [CONTROLLER, "iris-tpu-1", "iris-tpu-1-w0", "iris-tpu-1-w1"]
        _, out, _ = cluster.run("status", "-c", cluster.config, "--output", "json")
        values = json.loads(out)
        assert values["controller"]["name"] == CONTROLLER
        assert [host["name"] for host in values["slices"][0]["hosts"]] == ["iris-tpu-1-w0", "iris-tpu-1-w1"]
        assert "token" not in out

    def test_status_of_nothing_says_so(self, rig: Rig) -> None:
        """No cluster is an answer, not an error."""
        code, out, _ = rig.run("status", "-c", rig.config, "--prefix", "other")
        assert (code, out) == (0, "There is no cluster other in project, us-central1-a\n")

    def test_cleanup_only_plans_unless_told(self, cluster: Rig) -> None:
        """The dry run is the default and deletes nothing."""
        code, out, err = cluster.run("cleanup", "-c", cluster.config)
        assert code == 0
        assert [line.split()[0] for line in out.splitlines()] == ["iris-tpu-1", CONTROLLER]
        assert "--no-dry-run" in err
        assert cluster.inventory.count("delete") == 0

    def test_cleanup_deletes_when_told(self, cluster: Rig) -> None:
        """And names what is gone."""
        code, out, _ = cluster.run("cleanup", "-c", cluster.config, "--no-dry-run")
        assert code == 0
        assert out.splitlines() == ["iris-tpu-1 deleted", f"{CONTROLLER} deleted"]
        assert cluster.inventory.names() == []

    def test_cleanup_that_is_incomplete_fails(self, rig: Rig) -> None:
        """What is left may cost money: that is no success."""
        rig.inventory = FakeInventory(controller=make_controller(), undeletable=[CONTROLLER])
        code, _, err = rig.run("cleanup", "-c", rig.config, "--no-dry-run")
        assert code == CleanupIncompleteError.exit_code
        assert CONTROLLER in err

    def test_connect_holds_the_way_open_until_ctrl_c(self, cluster: Rig) -> None:
        """It prints what `iris job` needs; Ctrl-C is the regular end; a cluster that was there before stays."""
        code, out, _ = cluster.run("connect", "-c", cluster.config)
        assert code == 0
        assert out.startswith("export IRIS_URL=http://127.0.0.1:")
        assert cluster.inventory.names() == [CONTROLLER, "iris-tpu-1"]

    @pytest.mark.parametrize("was_there", [True, False])
    def test_connect_ends_in_time_where_a_host_does_not_answer(
        self, cluster: Rig, tmp_path: Path, *, was_there: bool
    ) -> None:
        """Its drain ends within the grace of Ctrl-C, and the deletion of what this has started does not wait for it."""
        cluster.monkeypatch.setattr(module, "BEFORE_DELETION_SECONDS", 0.0)
        cluster.monkeypatch.setattr(module, "MOST_DRAIN_SECONDS", 0.2)
        cluster.unreachable = ("iris-tpu-1-w0",)
        if not was_there:
            cluster.inventory.put_controller(None)
        began = time.monotonic()
        code, _, err = cluster.run("connect", "-c", cluster.config, "--log-dir", tmp_path / "logs")
        assert code == 0
        assert time.monotonic() - began < LogConfig().drain_seconds / 2
        assert "workers/iris-tpu-1-w0: not-drained" in err
        assert (cluster.inventory.names() == []) is not was_there

    def test_connect_without_a_file_is_a_local_cluster(self, rig: Rig, tmp_path: Path) -> None:
        """It is started, its logs are landed, and it is gone at the end."""
        code, out, _ = rig.run("connect", "--log-dir", tmp_path / "logs")
        assert code == 0
        assert "export IRIS_URL=" in out
        assert rig.inventory.names() == []
        assert (tmp_path / "logs" / "iris-logs.txt").exists()

    def test_two_local_clusters_do_not_share_a_directory(self, rig: Rig, tmp_path: Path) -> None:
        """The second is refused before anything is started, and the first lands on."""
        path = tmp_path / "logs" / "iris-logs.txt"
        path.parent.mkdir()
        with landed_python_logs(path):
            code, out, err = rig.run("connect", "--log-dir", path.parent)
        assert (code, out) == (31, "")
        assert str(path) in err
        assert rig.inventory.calls == []


class TestLogs:
    def test_stream_lands_until_ctrl_c_and_touches_nothing(self, cluster: Rig, tmp_path: Path) -> None:
        """Files for the controller and both hosts; nothing is created or deleted."""
        written = cluster.engine.create("iris-controller").write(b"hello\n")
        cluster.engine.create("iris-worker")
        code, _, err = cluster.run("logs", "stream", tmp_path / "logs", "-c", cluster.config)
        assert code == 0
        assert "Ctrl-C" in err
        assert {call.method for call in cluster.inventory.calls} <= {"find_controller", "list_slices"}
        landed = tmp_path / "logs" / "controller-logs.txt"
        assert not landed.exists() or landed.read_bytes() == written.landed

    def test_collect_lands_and_cat_prints_as_written(self, cluster: Rig, tmp_path: Path) -> None:
        """What the containers wrote comes back byte for byte."""
        cluster.engine.create("iris-controller").write(b"hello\n")
        cluster.engine.create("iris-worker").write(b"work\n")
        code, _, err = cluster.run("logs", "collect", tmp_path / "logs", "-c", cluster.config)
        assert (code, "Landed in" in err) == (0, True)
        assert cluster.run("logs", "cat", tmp_path / "logs", "controller-logs") == (0, "hello\n", "")
        assert cluster.run("logs", "cat", tmp_path / "logs", "--names")[1].splitlines() == [
            "controller-logs",
            "workers/iris-tpu-1-w0",
            "workers/iris-tpu-1-w1",
        ]
        assert cluster.run("logs", "cat", tmp_path / "logs")[1].splitlines() == [
            "controller-logs: hello",
            "workers/iris-tpu-1-w0: work",
            "workers/iris-tpu-1-w1: work",
        ]

    def test_stream_fresh_begins_new_files(self, cluster: Rig, tmp_path: Path) -> None:
        """Those that are there are left as they are."""
        cluster.engine.create("iris-controller").write(b"hello\n")
        cluster.engine.create("iris-worker")
        cluster.run("logs", "collect", tmp_path, "-c", cluster.config)
        before = (tmp_path / "controller-logs.txt").read_bytes()
        assert cluster.run("logs", "stream", tmp_path, "-c", cluster.config, "--fresh")[0] == 0
        assert (tmp_path / "controller-logs.txt").read_bytes() == before
        assert (tmp_path / "controller-logs~2.txt").read_bytes() == before

    @pytest.mark.parametrize("source", [["controller-logs"], []])
    def test_cat_keeps_the_order_where_both_streams_go_to_one_place(
        self, cluster: Rig, tmp_path: Path, source: list[str]
    ) -> None:
        """As in a terminal, and after `2>&1`: what is on standard error stands between the lines where it was written."""
        container = cluster.engine.create("iris-controller")
        cluster.engine.create("iris-worker")
        lines = [b"%d\n" % number for number in range(6)]
        for number, line in enumerate(lines):
            container.write(line, stream="stderr" if number % 3 == 1 else "stdout")
        cluster.run("logs", "collect", tmp_path / "logs", "-c", cluster.config)
        place = tmp_path / "place"
        with place.open("ab") as out, place.open("ab") as error:
            streams = io.TextIOWrapper(out), io.TextIOWrapper(error)
            for name, stream in zip(("stdout", "stderr"), streams, strict=True):
                cluster.monkeypatch.setattr(sys, name, stream)
            cluster.run("logs", "cat", tmp_path / "logs", *source)
            sys.stdout.flush()
            sys.stderr.flush()
        assert place.read_bytes() == b"".join(lines if source else [b"controller-logs: " + line for line in lines])

    def test_shards_share_the_slices(self, cluster: Rig, tmp_path: Path) -> None:
        """Three processes into one directory: each source once, the controller's by the first."""
        cluster.engine.create("iris-controller").write(b"hello\n")
        cluster.engine.create("iris-worker").write(b"work\n")
        for number in range(2, 8):
            cluster.inventory.put_slice(make_slice(f"iris-tpu-{number}"))
        landed: list[set[str]] = []
        for index in range(3):
            before = {path.stem for path in tmp_path.rglob("*.txt")}
            assert cluster.run("logs", "collect", tmp_path, "-c", cluster.config, "--shard", f"{index}/3")[0] == 0
            landed.append({path.stem for path in tmp_path.rglob("*.txt")} - before)
        assert "controller-logs" in landed[0]
        assert all(landed)
        assert len(set().union(*landed)) == 1 + 2 + 6
        cluster.inventory.calls.clear()
        assert cluster.run("logs", "stream", tmp_path, "-c", cluster.config, "--shard", "1/3")[0] == 0
        assert {call.method for call in cluster.inventory.calls} == {"list_slices"}

    @pytest.mark.parametrize("shard", ["3/3", "1", "a/b", "-1/3", "0/0"])
    def test_a_shard_that_cannot_be_is_a_usage_error(self, cluster: Rig, tmp_path: Path, shard: str) -> None:
        """What is wanted is told with an example."""
        code, _, err = cluster.run("logs", "collect", tmp_path, "-c", cluster.config, f"--shard={shard}")
        assert code == 2
        assert "0/4" in err

    def test_cat_of_an_unknown_source_names_the_known_ones(self, cluster: Rig, tmp_path: Path) -> None:
        """A typo is told, with what there is."""
        cluster.engine.create("iris-controller")
        cluster.engine.create("iris-worker")
        cluster.run("logs", "collect", tmp_path, "-c", cluster.config)
        code, _, err = cluster.run("logs", "cat", tmp_path, "controler")
        assert code == 32
        assert "controller-logs" in err

    def test_collect_names_what_it_could_not_land(self, cluster: Rig, tmp_path: Path) -> None:
        """A cluster without its containers is no success."""
        cluster.config.write_text(GCP + "logs: {drain_seconds: 0}\n")
        code, _, err = cluster.run("logs", "collect", tmp_path, "-c", cluster.config)
        assert code == 33
        assert "iris-tpu-1-w0" in err


class TestJobs:
    def test_submit_prints_the_id(self, cluster: Rig) -> None:
        """Several words are quoted for the shell, and every option arrives."""
        code, out, _ = cluster.run(
            *("job", "submit", "-c", cluster.config, "--id", "mine", "-e", "A=b=c", "--replicas", "4", "--cpus", "2"),
            *("--coscheduled", "--", "python", "a b.py"),
        )
        assert (code, out) == (0, "job-1\n")
        assert cluster.jobs.submitted == [
            JobRequest(
                entrypoint="python 'a b.py'",
                job_id="mine",
                env={"A": "b=c"},
                replicas=4,
                cpus_per_replica=2,
                coscheduled=True,
            )
        ]

    def test_what_a_ray_cluster_has_can_be_asked_for(self, cluster: Rig) -> None:
        """Chips, other resources, a slice, a type, and retries."""
        cluster.run(
            *("job", "submit", "-c", cluster.config, "--tpus", "4", "--resource", "big:disk=0.5", "--retries", "2"),
            *("--slice", "iris-tpu-1", "--accelerator", "v5litepod-16", "--", "true"),
        )
        assert cluster.jobs.submitted == [
            JobRequest(
                entrypoint="true",
                resources_per_replica={"TPU": 4, "big:disk": 0.5},
                slice_name="iris-tpu-1",
                accelerator_type="v5litepod-16",
                retries=2,
            )
        ]

    @pytest.mark.parametrize("resource", ["TPU", "TPU=many"])
    def test_a_wrong_resource_is_a_usage_error(self, cluster: Rig, resource: str) -> None:
        """It needs a name and an amount."""
        assert cluster.run("job", "submit", "-c", cluster.config, "--resource", resource, "--", "true")[0] == 2

    @pytest.mark.parametrize(
        "option",
        [
            *(["--cpus", "inf"], ["--cpus", "nan"], ["--replicas", "100000"], ["--id", "a/b"], ["--resource", "X=-1"]),
            *(
                ["--resource", "X=inf"],
                ["-e", "=X"],
                ["--slice", ""],
                ["-e", "A=\udcff"],
                ["--token", ""],
                ["--token", "ü"],
            ),
        ],
    )
    def test_what_is_not_even_sent_is_a_usage_error(self, cluster: Rig, option: list[str]) -> None:
        """Exit code 40 says that the controller refused, and it has not been asked."""
        code, out, err = cluster.run("job", "submit", "-c", cluster.config, *option, "--", "true")
        assert (code, out) == (2, "")
        assert "Invalid value" in err
        assert cluster.jobs.submitted == []

    @pytest.mark.parametrize("url", ["", "foo", "ftp://x", "http://", "http://x:y"])
    def test_a_url_that_cannot_be_one_is_a_usage_error(self, rig: Rig, url: str) -> None:
        """What it should be like is told."""
        code, _, err = rig.run("job", "list", "--url", url)
        assert code == 2
        assert f"--url (or IRIS_URL): {url!r} is not the URL of a controller: " in err

    def test_a_token_that_is_missing_or_wrong_is_told_with_how_to_give_it(self, rig: Rig) -> None:
        """In the words of the command line; a controller that is not there is told with what is to run."""
        with closing(LocalController(LocalConfig(), rig.clock)) as controller:
            for token in ([], ["--token", "wrong"]):
                code, _, err = rig.run("job", "list", "--url", controller.url, *token)
                assert code == 40
                assert err.endswith(
                    "`iris connect` prints the controller's token: give it by IRIS_TOKEN, or --token.\n"
                )
        code, _, err = rig.run("job", "list", "--url", controller.url)
        assert code == 40
        assert "does not answer: Connection refused. `iris connect` must be running" in err

    @pytest.mark.parametrize("command", ["status", "logs", "stop"])
    @pytest.mark.parametrize("job", ["", "\udcff"])
    def test_an_id_that_no_job_has_is_a_usage_error(self, cluster: Rig, command: str, job: str) -> None:
        """Such a request cannot even be written."""
        code, _, err = cluster.run("job", command, "-c", cluster.config, "--", job)
        assert code == 2
        assert "the job id" in err

    def test_one_word_is_a_shells_command_line(self, cluster: Rig) -> None:
        """`iris job submit -- 'a | b'`."""
        cluster.run("job", "submit", "-c", cluster.config, "--", "echo $A | cat")
        assert cluster.jobs.submitted[0].entrypoint == "echo $A | cat"

    def test_follow_prints_and_exits_by_the_jobs_end(self, cluster: Rig) -> None:
        """Lines on stdout, the verdict on stderr."""
        code, out, err = cluster.run("job", "submit", "-c", cluster.config, "-f", "--", "true")
        assert (code, out) == (0, "job-1 says hello\n")
        assert err.endswith("SUCCEEDED: done\n")

    def test_a_wrong_environment_variable_is_a_usage_error(self, cluster: Rig) -> None:
        """NAME alone is a mistake."""
        assert cluster.run("job", "submit", "-c", cluster.config, "-e", "A", "--", "true")[0] == 2

    def test_list_shows_commands_word_for_word_and_no_secrets(self, cluster: Rig) -> None:
        """Brackets are no markup, and the environment is not shown."""
        _, out, _ = cluster.run("job", "list", "-c", cluster.config)
        assert "sleep [bold]9" in out
        _, out, _ = cluster.run("job", "list", "-c", cluster.config, "-o", "json")
        assert json.loads(out)[0]["job_id"] == "j1"
        assert "secret" not in out

    def test_status_shows_the_tasks(self, cluster: Rig) -> None:
        """And why they wait."""
        _, out, _ = cluster.run("job", "status", "j1", "-c", cluster.config)
        assert "j1: SUCCEEDED: done" in out
        assert "needs 4 workers" in out
        _, out, _ = cluster.run("job", "status", "j1", "-c", cluster.config, "-o", "json")
        assert json.loads(out)["tasks"][0]["pending_reason"] == "needs 4 workers"

    def test_logs_and_stop(self, cluster: Rig) -> None:
        """Following prints as it comes; stopping says what happened."""
        assert cluster.run("job", "logs", "j1", "-f", "-c", cluster.config)[1] == "j1 says hello\n"
        assert cluster.run("job", "stop", "j1", "-c", cluster.config)[2] == "It is being stopped.\n"
        assert cluster.jobs.stopped == ["j1"]

    def test_a_job_that_does_not_exist_is_told(self, cluster: Rig) -> None:
        """The controller's words, and the job API's exit code."""
        assert cluster.run("job", "status", "absent", "-c", cluster.config) == (
            40,
            "",
            "iris: there is no job absent\n",
        )

    def test_rays_token_is_read_on_the_controllers_host(self, cluster: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        """Over SSH, when the controller runs Ray; unless the user gives one. It is shown nowhere."""
        cluster.config.write_text("mode: gcp\ngcp: {project_id: project, zone: us-central1-a}\n")
        cluster.runs = (RunScript(answers=[CommandResult(exit_status=0, stdout=b"t0ken" * 8 + b"\n")]),)

        code, out, err = cluster.run("job", "list", "-c", cluster.config)

        assert code == 0
        assert b"Bearer " + b"t0ken" * 8 in cluster.shell.forwards[0].requests[0]
        assert "t0ken" not in out + err
        monkeypatch.setenv("IRIS_TOKEN", "mine")
        assert cluster.run("job", "list", "-c", cluster.config)[0] == 0
        assert cluster.shell.commands == []
        assert b"Bearer mine" in cluster.shell.forwards[0].requests[0]

    def test_without_a_controller_nothing_is_started(self, rig: Rig) -> None:
        """Asking for jobs must not cost money."""
        code, _, err = rig.run("job", "list", "-c", rig.config)
        assert code == 3
        assert "iris up" in err
        assert rig.inventory.count("ensure_controller") == 0


class TestSmokeTest:
    def test_a_cluster_of_its_own_prefix_is_used(self, rig: Rig, tmp_path: Path) -> None:
        """Never the one of the file: the smoke test deletes what bears its prefix."""
        rig.inventory = FakeInventory(label_prefix="iris-smoke")
        rig.jobs.smoke_dir = tmp_path / "run"
        code, out, _ = rig.run("smoke-test", "-c", rig.config, "--log-dir", tmp_path / "run")
        assert "Smoke test of the cluster iris-smoke in project, us-central1-a" in out
        assert code == 0
        assert {call.name for call in rig.inventory.calls} == {"", "iris-controller-iris-smoke"}

    def test_what_deletes_a_cluster_that_is_kept_is_told_as_one_types_it(self, rig: Rig, tmp_path: Path) -> None:
        """With the file and the prefix: without either it would be about another cluster, or none."""
        rig.inventory = FakeInventory(label_prefix="iris-smoke")
        rig.inventory.fail_next("list_slices", times=50)
        code, out, _ = rig.run("smoke-test", "-c", rig.config, "--no-cleanup-on-failure", "--log-dir", tmp_path / "run")
        assert code == InventoryToolError.exit_code
        assert f"`iris down -c {rig.config} --prefix iris-smoke` deletes it" in out

    def test_a_failure_is_told_on_standard_error_too(self, rig: Rig, tmp_path: Path) -> None:
        """`iris smoke-test >/dev/null` says what is wrong, once."""
        rig.inventory = FakeInventory(label_prefix="iris-smoke")
        rig.inventory.fail_next("list_resources", PermissionDeniedError("may not look"))
        code, out, err = rig.run("smoke-test", "-c", rig.config, "--log-dir", tmp_path / "run")
        assert code == PermissionDeniedError.exit_code
        assert "may not look" in out
        assert err.splitlines() == [
            "iris: 0/3 checks passed; the smoke test failed (exit code 7)",
            "Failed while: clean start: may not look",
        ]

    def test_a_directory_that_jobs_cannot_be_told_is_refused(self, rig: Rig) -> None:
        """Before anything is started: a job's command is text."""
        code, out, err = rig.run("smoke-test", "--log-dir", "e\udcff")
        assert (code, out) == (32, "")
        assert "is not UTF-8" in err
        assert rig.inventory.calls == []

    def test_two_of_one_second_have_directories_of_their_own(self, rig: Rig, tmp_path: Path) -> None:
        """Where none is named."""
        rig.inventory.fail_next("list_resources", PermissionDeniedError("may not look"))
        rig.run("smoke-test")
        [made] = tmp_path.glob("iris-smoke-test-*")
        assert made.name.endswith(f"-{os.getpid()}")

    def test_a_used_directory_is_refused(self, rig: Rig, tmp_path: Path) -> None:
        """Before anything is touched."""
        code, _, err = rig.run("smoke-test", "--log-dir", tmp_path)
        assert code == 32
        assert "not empty" in err
        assert rig.inventory.calls == []


def test_a_reader_that_goes_away_is_no_traceback(rig: Rig) -> None:
    """`iris status | head -1` ends quietly."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe", text)

    rig.monkeypatch.setattr(sys, "stdout", Gone())
    code, _, err = rig.run("config", "check", rig.config)
    assert code != 0
    assert "Broken pipe" not in err


@pytest.mark.parametrize("command", [["--help"], ["config", "check", "cluster.yaml"], ["job", "list", "-o", "json"]])
def test_an_output_that_is_full_is_told(cluster: Rig, command: list[str]) -> None:
    """With an exit code: what was asked for is lost."""
    cluster.monkeypatch.setenv("IRIS_CONFIG", str(cluster.config))
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        cluster.monkeypatch.setattr(sys, "stdout", full)
        code, _, err = cluster.run(*command)
    assert code == 1
    assert err.startswith("iris: cannot write to standard output: No space left on device.")


def test_what_is_told_may_be_lost(cluster: Rig) -> None:
    """`connect` goes on to its regular end where standard error is full."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        cluster.monkeypatch.setattr(sys, "stderr", full)
        code, out, _ = cluster.run("connect", "-c", cluster.config)
    assert code == 0
    assert out.startswith("export IRIS_URL=")


def test_ctrl_c_before_the_command_has_begun(rig: Rig) -> None:
    """It exits as it does later."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    rig.monkeypatch.setattr(main_module, "_command", interrupted)
    assert rig.run("status") == (130, "", "")
