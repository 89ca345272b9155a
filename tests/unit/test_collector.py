"""docs/examples/collector, without Vector: what the script starts, what the configuration asks for, and what it makes of a line."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from iris_adapters.gcloud.ray_containers import worker_container
from iris_core.config import DEFAULT_WORKER_CONTAINER
from iris_core.docker_run import run_container_argv
from tests.support.collector import (
    ANSWERS,
    CONFIGURATION,
    SCRIPT,
    SECTION,
    configuration,
    pretend_curl,
    transformed,
    worker_group,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Fails so often as the file `failures` says, and remembers how it was run.
DOCKER = r"""#!/bin/bash
[ "$1" = run ] || exit 0
left=$(cat "$HERE/failures" 2>/dev/null || echo 0)
if [ "$left" -gt 0 ]; then echo $((left - 1)) >"$HERE/failures"; exit 1; fi
printf '%s\n' "$@" >"$HERE/run"
"""

# The options of Vector 0.59 that there are, as far as it may make sense to use them here: website/cue/reference of vectordotdev/vector.
OPTIONS = {
    "sources": {
        "type": {"file"},
        "include": None,
        "exclude": None,
        "max_line_bytes": None,
        "offset_key": None,
        "read_from": {"beginning", "end"},
        "fingerprint": None,
        "rotate_wait_secs": None,
        "oldest_first": {True, False},
    },
    "transforms": {"type": {"remap"}, "inputs": None, "source": None, "drop_on_error": {True, False}},
    "sinks": {
        "type": {"gcp_cloud_storage"},
        "inputs": None,
        "bucket": None,
        "key_prefix": None,
        "filename_time_format": None,
        "filename_append_uuid": {True, False},
        "filename_extension": None,
        "compression": {"gzip", "none", "snappy", "zlib", "zstd"},
        "encoding.codec": {"json", "text"},
        "framing.method": {"newline_delimited", "character_delimited", "bytes"},
        "batch.max_bytes": None,
        "batch.max_events": None,
        "batch.timeout_secs": None,
        "buffer.type": {"memory", "disk"},
        "buffer.max_events": None,
        "buffer.max_size": None,
        "buffer.when_full": {"block", "drop_newest"},
        "acknowledgements.enabled": {True, False},
    },
}

TAG = "iris-worker"
ENTRY: dict[str, object] = {
    "log": "step 12\n",
    "stream": "stderr",
    "attrs": {"tag": TAG},
    "time": "2026-01-01T23:59:59.123456789Z",
}
CONTAINER = "ab" * 32
FILE = f"/var/lib/docker/containers/{CONTAINER}/{CONTAINER}-json.log"


class PretendedHost:
    """A worker host on which the script can be run, with its /var/lib/vector in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "vector"
        for name, text in (("docker", DOCKER), ("sleep", "#!/bin/sh\n")):
            program = directory / name
            program.write_text(text, encoding="utf-8")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def boot(self, answers: Mapping[str, str] = ANSWERS) -> subprocess.CompletedProcess[str]:
        """Run the script as a boot does, against such metadata and such a bucket."""
        pretend_curl(self.directory, dict(answers))
        script = SCRIPT.read_text(encoding="utf-8").replace("/var/lib/vector", str(self.data))
        environment = {"PATH": f"{self.directory}{os.pathsep}{os.environ['PATH']}", "HERE": str(self.directory)}
        return subprocess.run(
            ["bash"], input=script, text=True, env=environment, check=False, capture_output=True, timeout=30
        )

    def run(self) -> list[str]:
        """The words of `docker run`, with the paths that the script has; empty: it was not run."""
        words = self.directory / "run"
        text = words.read_text(encoding="utf-8") if words.exists() else ""
        return text.replace(str(self.data), "/var/lib/vector").splitlines()


@pytest.fixture
def host(tmp_path: Path) -> PretendedHost:
    return PretendedHost(tmp_path)


def option(words: list[str], name: str) -> list[str]:
    """The values of an option."""
    return [word.removeprefix(f"--{name}=") for word in words if word.startswith(f"--{name}=")]


def test_vector_gets_every_variable_of_its_configuration(host: PretendedHost) -> None:
    """And is told to put them in, which it does not do by itself."""
    assert host.boot().returncode == 0
    environment = dict(value.split("=", 1) for value in option(host.run(), "env"))
    used = set(re.findall(r"\$\{?(\w+)", re.sub(r"#.*", "", CONFIGURATION.read_text(encoding="utf-8"))))
    assert used == {name for name in environment if not name.startswith("VECTOR_")}
    assert environment["HOST"] == "iris-train-20261201120000-w3"
    assert environment["BUCKET"] == "my-bucket"
    assert environment["CLUSTER"] == "iris"
    assert environment["VECTOR_DANGEROUSLY_ALLOW_ENV_VAR_INTERPOLATION"] == "true"
    assert environment["VECTOR_REQUIRE_HEALTHY"] == "true"


def test_vector_sees_the_files_that_its_configuration_names(host: PretendedHost) -> None:
    """The engine's, to read only, and its own, which stay; and the configuration is the one from the bucket."""
    assert host.boot().returncode == 0
    words = host.run()
    mounts = {target: source for source, target, *_ in (value.split(":") for value in option(words, "volume"))}
    read_only = {value.split(":")[1] for value in option(words, "volume") if value.endswith(":ro")}
    for pattern in configuration()["sources"]["containers"]["include"]:
        assert any(PurePosixPath(pattern).is_relative_to(target) and target == mounts[target] for target in read_only)
    assert mounts[configuration()["data_dir"]] == "/var/lib/vector"
    assert configuration()["data_dir"] not in read_only
    [file] = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    assert words.index(f"--config={file}") > words.index(image_of(words))
    assert mounts[file] == "/var/lib/vector/vector.yaml"
    assert (host.data / "vector.yaml").read_text(encoding="utf-8") == CONFIGURATION.read_text(encoding="utf-8")


def image_of(words: list[str]) -> str:
    [image] = [word for word in words if word.startswith("timberio/vector:")]
    return image


def test_the_version_is_pinned_and_the_one_that_was_read_about(host: PretendedHost) -> None:
    """Options change between versions: 0.57 turned the variables off."""
    assert host.boot().returncode == 0
    version = re.fullmatch(r"timberio/vector:((\d+\.\d+)\.\d+)-debian", image_of(host.run()))
    assert version is not None
    assert f"than {version[1]} may" in SECTION
    assert f"source of Vector {version[2]}." in SECTION
    assert f"Written for Vector {version[2]}." in CONFIGURATION.read_text(encoding="utf-8")


def test_vector_does_not_read_of_its_own_reading(host: PretendedHost) -> None:
    """Its log is in no json-file, and has no tag."""
    assert host.boot().returncode == 0
    assert option(host.run(), "log-driver") == ["local"]
    assert option(host.run(), "log-opt") == []


def test_the_token_is_on_no_command_line(host: PretendedHost) -> None:
    """It goes to the storage and nowhere else; the metadata server gets the header without which it does not answer."""
    assert host.boot().returncode == 0
    assert "ya29" not in (host.directory / "curl-arguments").read_text(encoding="utf-8")
    requests = (host.directory / "requests").read_text(encoding="utf-8").splitlines()
    storage = "https://storage.googleapis.com/my-bucket/collector/vector.yaml"
    assert [line for line in requests if "ya29" in line] == [f"Authorization: Bearer ya29.secret {storage}"]
    others = [line for line in requests if "ya29" not in line]
    assert len(others) == 4
    assert all(line.startswith("Metadata-Flavor: Google http://metadata.google.internal/") for line in others)


@pytest.mark.parametrize("missing", ["NODE_ID", "WORKER_ID"])
def test_a_host_whose_name_is_not_known_uploads_nothing(host: PretendedHost, missing: str) -> None:
    """Or several hosts would be one in the bucket."""
    ended = host.boot({**ANSWERS, "tpu-env": ANSWERS["tpu-env"].replace(missing, "OTHER")})
    assert ended.returncode != 0
    assert missing in ended.stderr
    assert host.run() == []


@pytest.mark.parametrize("missing", sorted(ANSWERS))
def test_what_cannot_be_fetched_ends_the_script(host: PretendedHost, missing: str) -> None:
    """An older configuration stays, and Vector, if it runs, with it."""
    host.data.mkdir()
    (host.data / "vector.yaml").write_text("older", encoding="utf-8")
    assert host.boot({name: text for name, text in ANSWERS.items() if name != missing}).returncode != 0
    assert (host.data / "vector.yaml").read_text(encoding="utf-8") == "older"
    assert host.run() == []


def test_an_image_that_cannot_be_pulled_is_tried_again(host: PretendedHost) -> None:
    """A network may not be up yet."""
    (host.directory / "failures").write_text("2", encoding="utf-8")
    assert host.boot().returncode == 0
    assert host.run()


def test_the_example_is_one_that_iris_takes(tmp_path: Path) -> None:
    """With every metadata key that the script asks for, and the tag on the container that it starts."""
    group = worker_group(tmp_path)
    asked = re.findall(r"attributes/(collector-\w+)", SCRIPT.read_text(encoding="utf-8"))
    assert set(group.metadata) == {*asked, "startup-script-url"}
    bucket = group.metadata["collector-bucket"]
    assert f"gcloud storage cp docs/examples/collector/* gs://{bucket}/collector/" in SECTION
    assert group.metadata["startup-script-url"] == f"gs://{bucket}/collector/{SCRIPT.name}"
    words = run_container_argv(DEFAULT_WORKER_CONTAINER, worker_container(group.container))
    assert option(words, "log-opt") == ["tag={{.Name}}"]
    assert option(words, "name") == [TAG]  # what the tests below have of the engine


def options_of(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Those of a component, inner ones with a dot."""
    found: dict[str, object] = {}
    for name, value in settings.items():
        found |= options_of(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


@pytest.mark.parametrize("kind", sorted(OPTIONS))
def test_every_option_is_one_that_vector_has(kind: str) -> None:
    """It refuses to start with others."""
    assert set(configuration()) == {"data_dir", *OPTIONS}
    [component] = configuration()[kind].values()
    for name, value in options_of(component).items():
        values = OPTIONS[kind].get(name, ())
        assert values is None or value in values, f"{kind}: {name}: {value}"


def test_what_is_read_goes_to_the_storage() -> None:
    """Each component takes what the one before gives."""
    [source], [transform], [sink] = (configuration()[kind] for kind in OPTIONS)
    assert configuration()["transforms"][transform]["inputs"] == [source]
    assert configuration()["sinks"][sink]["inputs"] == [transform]


def test_a_line_counts_as_delivered_once_it_is_uploaded() -> None:
    """Not while it lies on the host's disk, which a preemption takes."""
    [sink] = configuration()["sinks"].values()
    assert sink["acknowledgements"] == {"enabled": True}
    assert sink["buffer"]["type"] == "memory"
    assert sink["buffer"]["when_full"] == "block"
    seconds = sink["batch"]["timeout_secs"]
    assert f"lines are {seconds} s late" in SECTION
    assert f"up to the last {seconds} s," in SECTION


def test_the_logs_are_read_and_nothing_else_of_a_container(tmp_path: Path) -> None:
    """Those that rotation put aside too, until they are compressed; Vector's own is in a directory further down."""
    source = configuration()["sources"]["containers"]
    directory = tmp_path / FILE.lstrip("/")
    (directory.parent / "local-logs").mkdir(parents=True)
    logs = [f"{CONTAINER}-json.log", f"{CONTAINER}-json.log.1", f"{CONTAINER}-json.log.2"]
    others = [f"{CONTAINER}-json.log.3.gz", "config.v2.json", "hostconfig.json", "local-logs/container.log"]
    for name in (*logs, *others):
        (directory.parent / name).touch()
    found, excluded = (
        {path for pattern in source[name] for path in tmp_path.glob(pattern.lstrip("/"))}
        for name in ("include", "exclude")
    )
    assert sorted(path.name for path in found - excluded) == logs


@pytest.mark.parametrize("suffix", ["", ".1"])
def test_an_entry_becomes_its_line(suffix: str) -> None:
    """With whose it is, and when it was written as a time: the object's name has that day, not the upload's."""
    event = transformed(json.dumps(ENTRY), file=FILE + suffix)
    assert event == {
        "timestamp": datetime(2026, 1, 1, 23, 59, 59, 123456, tzinfo=UTC),
        "message": "step 12\n",
        "stream": "stderr",
        "container": TAG,
        "container_id": CONTAINER,
        "host": "a-slice-w0",
        "offset": 0,
    }
    assert all(f"`{field}`" in SECTION for field in event)


@pytest.mark.parametrize("attributes", [{}, {"attrs": {"team": "a"}}, {"attrs": {"tag": 1}}, {"attrs": "tag"}])
def test_what_has_no_tag_is_dropped(attributes: dict[str, object]) -> None:
    """It is of a container that did not ask for it."""
    entry = {key: value for key, value in ENTRY.items() if key != "attrs"} | attributes
    assert transformed(json.dumps(entry), file=FILE) is None


@pytest.mark.parametrize("line", ['{"log":"torn', "[1]", "\\u0000"])
def test_what_is_damaged_is_uploaded_as_it_is(line: str) -> None:
    """Rather than missed in silence."""
    event = transformed(line, file=FILE)
    assert event is not None
    assert event["message"] == line
    assert event["container_id"] == CONTAINER
    assert "container" not in event


def test_a_time_that_is_none_does_not_cost_the_line() -> None:
    """The time when it was read stands then."""
    event = transformed(json.dumps({**ENTRY, "time": "yesterday"}), file=FILE)
    assert event is not None
    assert event["message"] == "step 12\n"
    assert event["timestamp"] == "as read"
