"""`load_config`: what a YAML file becomes, and what a wrong one is told."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_adapters.config_file import load_config
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    HostKeyPolicy,
    LocalConfig,
    LogConfig,
    Mode,
    QueuedConfig,
    Route,
    SshConfig,
    WorkerGroupConfig,
)
from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import DataclassInstance

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"
EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "examples").glob("*.yaml"))

GCP = """\
mode: gcp
gcp:
  project_id: my-project
  zone: us-central1-a
"""
WORKER = """\
workers:
  - name: a
    accelerator_type: v5litepod-8
    runtime_version: v2-alpha-tpuv5-lite
  - name: b
    accelerator_type: v5litepod-8
    runtime_version: v2-alpha-tpuv5-lite
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    """Write a file and return where it is."""

    def write_file(content: str | bytes) -> Path:
        path = tmp_path / "cluster.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.fixture
def refuse(write: Callable[[str | bytes], Path]) -> Callable[[str | bytes], ConfigError]:
    """Load a file that must be refused, and return the error; every one of them names the file."""

    def load_wrong(content: str | bytes) -> ConfigError:
        path = write(content)
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert caught.value.file == path
        assert str(path) in str(caught.value)
        return caught.value

    return load_wrong


class TestRight:
    @pytest.mark.parametrize("content", ["", "\n", "# nothing\n", "---\n", "{}"])
    def test_nothing_said_is_all_defaults(self, write: Callable[[str], Path], content: str) -> None:
        """An empty file is the local cluster of the defaults."""
        assert load_config(write(content)) == ClusterConfig()

    def test_everything_arrives_with_its_type(self, write: Callable[[str], Path]) -> None:
        """Enums, tuples, mappings, whole numbers for fractions and nested sections become the core's own values."""
        config = load_config(
            write(
                GCP
                + "  ssh: {route: internal, host_keys: first-use, connect_timeout_seconds: 5}\n"
                + WORKER
                + "    spot: true\n"
                + "    labels: {team: blue}\n"
                + "    container: {image: busybox, command: [sleep, '60'], env: {A: 'no'}}\n"
            )
        )
        assert config.mode is Mode.GCP
        assert config.gcp is not None
        assert config.gcp.ssh.route is Route.INTERNAL
        assert config.gcp.ssh.host_keys is HostKeyPolicy.FIRST_USE
        assert config.gcp.ssh.connect_timeout_seconds == 5.0
        assert [group.name for group in config.workers] == ["a", "b"]
        assert config.workers[1].labels == {"team": "blue"}
        assert config.workers[1].container.command == ("sleep", "60")
        assert config.workers[1].container.env == {"A": "no"}

    @pytest.mark.parametrize("word", ["no", "yes", "on", "off", "012", "1:30", "2026-01-02", "0x10", "1_000"])
    def test_words_that_yaml_1_1_turns_into_something_else_stay_text(
        self, write: Callable[[str], Path], word: str
    ) -> None:
        """`zone: no` is the text "no": YAML 1.2's rules apply, without the traps of 1.1."""
        config = load_config(write(f"gcp: {{project_id: p, zone: {word}}}"))
        assert config.gcp is not None
        assert config.gcp.zone == word

    def test_an_alias_stands_for_its_anchor(self, write: Callable[[str], Path]) -> None:
        """A section can be written once and used twice."""
        config = load_config(
            write("controller: {container: &box {image: busybox}}\n" + WORKER + "    container: *box\n")
        )
        assert config.workers[1].container == config.controller.container

    def test_a_byte_order_mark_is_ignored(self, write: Callable[[bytes], Path]) -> None:
        """What some editors put in front of UTF-8 does no harm."""
        assert load_config(write(b"\xef\xbb\xbflabel_prefix: mine\n")).label_prefix == "mine"

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
    def test_the_examples_in_the_documentation_are_right(self, path: Path) -> None:
        """Every docs/examples/*.yaml loads."""
        assert isinstance(load_config(path), ClusterConfig)

    def test_there_are_examples(self) -> None:
        """The test above has something to look at."""
        assert len(EXAMPLES) >= 2


class TestDocumentation:
    @pytest.mark.parametrize(
        ("heading", "section"),
        [
            ("The file", ClusterConfig),
            ("gcp", GcpConfig),
            ("gcp.ssh", SshConfig),
            ("controller", ControllerConfig),
            ("workers", WorkerGroupConfig),
            ("workers.queued", QueuedConfig),
            ("container", ContainerConfig),
            ("logs", LogConfig),
            ("local", LocalConfig),
        ],
    )
    def test_every_key_is_documented_in_its_place(self, heading: str, section: type[DataclassInstance]) -> None:
        """docs/configuration.md has a row for each key of each section, in its order, and none besides; plain defaults are right."""
        text = DOCUMENTATION.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
        rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", text, flags=re.MULTILINE)
        assert [key for key, _ in rows] == [field.name for field in fields(section)]
        for (key, default), field in zip(rows, fields(section), strict=True):
            if isinstance(field.default, bool):
                assert default == f"`{str(field.default).lower()}`", key
            elif isinstance(field.default, int | float):
                assert default == f"`{field.default:g}`", key
            elif isinstance(field.default, str):
                assert default == f"`{field.default}`", key


class TestWrongValues:
    @pytest.mark.parametrize(
        ("content", "line", "key_path", "said"),
        [
            ("\nlable_prefix: x\n", 2, "lable_prefix", "did you mean label_prefix?"),
            ("local:\n  wokers: 3\n", 2, "local.wokers", "did you mean workers?"),
            ("local:\n  port: 1\nzone: x\n", 3, "zone", "did you mean gcp.zone?"),
            ("zzzzz: 1\n", 1, "zzzzz", "label_prefix"),
            (WORKER + "    cuont: 1\n", 8, "workers.1.cuont", "did you mean count?"),
            (WORKER + "    count: '3'\n", 8, "workers.1.count", "must be a whole number, is the text '3'"),
            ("local: {port: 8080.0}\n", 1, "local.port", "must be a whole number, is 8080.0"),
            ("local:\n  port: 012\n", 2, "local.port", "must be a whole number, is the text '012'"),
            ("local:\n  port: true\n", 2, "local.port", "must be a whole number, is true"),
            ("local:\n  port:\n", 2, "local.port", "must be a whole number, is empty"),
            ("local:\n  cpus_per_worker: much\n", 2, "local.cpus_per_worker", "must be a number, is the text 'much'"),
            ("logs:\n  use_sudo: yes\n", 2, "logs.use_sudo", "must be true or false, is the text 'yes'"),
            ("label_prefix: 12\n", 1, "label_prefix", "must be text, is 12: quote it"),
            (WORKER + "    labels: {n: 3}\n", 8, "workers.1.labels.n", "must be text, is 3: quote it"),
            (
                WORKER + "    container:\n      command: [a,\n        3]",
                10,
                "workers.1.container.command.1",
                "quote it",
            ),
            (WORKER + "    container: {command: run}\n", 8, "workers.1.container.command", "must be a list"),
            ("mode: gpc\n", 1, "mode", "must be 'local' or 'gcp', is the text 'gpc'"),
            ("local:\n", 1, "local", "must be a section, is empty"),
            ("local: [1]\n", 1, "local", "must be a section, is a list"),
            ("workers: {name: a}\n", 1, "workers", "must be a list, is a section"),
            ("\nmode: gcp\ngcp:\n  zone: x\n", 3, "gcp.project_id", "is missing"),
            ("local:\n  cpus_per_worker: .inf\n", 2, "local.cpus_per_worker", "text '.inf'"),
            ("local:\n  cpus_per_worker: 1.0e999\n", 2, "local.cpus_per_worker", "too large"),
            ("local:\n  port: " + "9" * 5000 + "\n", 2, "local.port", "too large"),
        ],
    )
    def test_a_wrong_key_or_value_is_named_with_file_line_and_key_path(
        self, refuse: Callable[[str], ConfigError], content: str, line: int, key_path: str, said: str
    ) -> None:
        """A misspelt or mistyped key is told where it is, what is wrong and what would be right."""
        error = refuse(content)
        assert (error.line, error.key_path) == (line, key_path)
        assert said in error.problem

    @pytest.mark.parametrize(
        ("content", "line", "key_path"),
        [
            (WORKER.replace("name: b", "name: B"), 5, "workers.1.name"),
            (WORKER + "    count: -1\n", 8, "workers.1.count"),
            (WORKER + "    labels:\n      ok: 'x'\n      a.B: 'x'\n", 10, "workers.1.labels.a.B"),
            (WORKER.replace("name: b", "name: a"), 5, "workers.1.name"),
            ("local:\n  # here\n  port: 70000\n", 3, "local.port"),
            (GCP + "  ssh:\n    port: 0\n", 6, "gcp.ssh.port"),
            ("label_prefix: No\n", 1, "label_prefix"),
            ("\nowner: Joe@example.com\n", 2, "owner"),
            ("\ntime_to_live_hours: 0\n", 2, "time_to_live_hours"),
            ("\ntime_to_live_hours: 2881\n", 2, "time_to_live_hours"),
            (WORKER + "    type: v4\n    topology: 2x2x2\n", 6, "workers.1.accelerator_type"),
            (WORKER + "    spot: true\n    reserved: true\n", 9, "workers.1.reserved"),
            (WORKER + "    queued:\n      wait_minutes: 0\n", 9, "workers.1.queued.wait_minutes"),
            (WORKER + "    metadata:\n      ssh-keys: x\n", 9, "workers.1.metadata.ssh-keys"),
            ("controller:\n  metadata:\n    a b: x\n", 3, "controller.metadata.a b"),
            ("controller:\n  tags:\n    - ok\n    - Not\n", 4, "controller.tags.1"),
            (GCP + "  external_ips: false\n", 5, "gcp.external_ips"),
            ("\nmode: gcp\n", None, "gcp"),
            ("gcp:\n  project_id: ''\n  zone: z", 2, "gcp.project_id"),
        ],
    )
    def test_what_the_core_refuses_is_found_in_the_file(
        self, refuse: Callable[[str], ConfigError], content: str, line: int | None, key_path: str
    ) -> None:
        """The core's own checks know no file; their errors come out with the line and the full path, list index included."""
        error = refuse(content)
        assert (error.line, error.key_path) == (line, key_path)

    def test_all_problems_are_told_at_once(self, refuse: Callable[[str], ConfigError]) -> None:
        """Two mistakes are two lines of one message, the first in the file first."""
        error = refuse("local:\n  port: x\nlogs:\n  use_sudo: 1\n")
        assert error.line == 2
        first, second = str(error).splitlines()
        assert ":2: local.port: " in first
        assert ":4: logs.use_sudo: " in second

    @pytest.mark.parametrize(
        ("content", "paths"),
        [
            ("local: {workers: -1, port: 99999}", ["local.workers", "local.port"]),
            ("logs: {drain_seconds: -3, shard_count: 0}", ["logs.drain_seconds", "logs.shard_count"]),
            ("mode: gcp\ngcp: {project_id: '', zone: ''}", ["gcp.project_id", "gcp.zone"]),
            ("mode: gcp\nlabel_prefix: X", ["label_prefix", "gcp"]),
            ("label_prefix: X\nlocal: {workers: -1, prot: 1}", ["label_prefix", "local.workers", "local.prot"]),
            (
                "controller: {tags: [A, b, C], labels: {A: a, b: B}, port: x}",
                ["port", "tags.0", "tags.2", "labels.A", "labels.b"],
            ),
            (WORKER.replace("name: b", "name: a") + "    count: -1\n", ["workers.1.name", "workers.1.count"]),
            (
                WORKER.replace("name: b", "name: B") + "    spot: true\n    reserved: true",
                ["workers.1.name", "workers.1.reserved"],
            ),
            ("workers: [{name: a}, 5]", ["0.runtime_version", "0.accelerator_type", "workers.1"]),
            ("prices: {a: -1, b: -1}\nlogs: 5", ["prices.a", "prices.b", "logs"]),
            ("owner: A\ntime_to_live_hours: 0", ["owner", "time_to_live_hours"]),
        ],
    )
    def test_no_mistake_hides_another(
        self, refuse: Callable[[str], ConfigError], content: str, paths: list[str]
    ) -> None:
        """Neither in its section, nor of the sections around it, nor of another type."""
        lines = str(refuse(content)).splitlines()
        assert len(lines) == len(paths)
        assert [path for path in paths if not any(f"{path}: " in line for line in lines)] == []

    @pytest.mark.parametrize(
        ("content", "path"),
        [
            ("mode: gcp\ngcp: {project_id: p, zone: z, external_ips: false, ssh: {route: intrenal}}", "gcp.ssh.route"),
            ("logs: {shard_index: 1, shard_count: x}", "logs.shard_count"),
            (WORKER.replace("accelerator_type: v5litepod-8", "topology: 2x2\n    type: 4"), "workers.0.type"),
        ],
    )
    def test_what_only_follows_from_a_mistake_is_not_told(
        self, refuse: Callable[[str], ConfigError], content: str, path: str
    ) -> None:
        """The other key is right once this one is."""
        error = refuse(content)
        assert error.key_path == path
        assert "external_ips" not in str(error)
        assert "accelerator_type" not in str(error)
        assert "shard_index" not in str(error)

    def test_a_great_many_mistakes_take_no_great_time(self, refuse: Callable[[str], ConfigError]) -> None:
        """A list of thousands of wrong tags is no reason to read it as often."""
        assert refuse(f"controller: {{tags: [{', '.join(['A'] * 9000)}]}}").key_path == "controller.tags.0"

    @pytest.mark.parametrize("content", ['"\\e[2Jx": 1', 'controller: {labels: {"\\e[2Jx": y}}', "mode: !a%1B[2Jx 1"])
    def test_what_a_terminal_would_obey_is_escaped(self, refuse: Callable[[str], ConfigError], content: str) -> None:
        """In keys, values and tags."""
        told = str(refuse(content))
        assert told.isprintable()
        assert "\\x1b[2Jx" in told

    def test_a_long_value_is_cut_in_the_message(self, refuse: Callable[[str], ConfigError]) -> None:
        """A pasted key or file in the wrong place does not flood the terminal."""
        assert len(str(refuse("mode: " + "x" * 10_000))) < 400


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("content", "line", "said"),
        [
            ("local:\n  port: 1\n  port: 2\n", 3, "line 2"),
            ("a: [\n", 2, "not YAML"),
            ("local:\n\tport: 1\n", 2, "not YAML"),
            ("a: 1\n---\nb: 2\n", 2, "expected a single document in the stream, but found another document"),
            ("- a\n", 1, "must be a mapping"),
            ("hello\n", 1, "must be a mapping"),
            ("a: *nowhere\n", 1, "undefined alias"),
            ("a: &a [*a]\n", 1, "too deep"),
            ("a: &a {b: *a}\n", 1, "too deep"),
            ("[" * 2000, 1, "too deep"),
            ("a: " + "{a: " * 100 + "}" * 100, 1, "too deep"),
            ("label_prefix: !!python/name:os.system x\n", 1, "tag"),
            ("label_prefix: !mine x\n", 1, "tag"),
            ("label_prefix: !!bool maybe\n", 1, "bool"),
            ("x:\n  <<: {a: 1}\n", 2, "merge"),
            ("? [a]\n: 1\n", 1, "key"),
            ('label_prefix: "a\\0b"\n', 1, "NUL"),
            ('label_prefix: "\\ud800"\n', 1, "character"),
            ("ok: 1\nb: \x07\n", 2, "not YAML"),
            (b"a: 1\nb: \xff\n", 2, "UTF-8"),
        ],
    )
    def test_what_is_not_a_configuration_is_told_by_line(
        self, refuse: Callable[[str | bytes], ConfigError], content: str | bytes, line: int, said: str
    ) -> None:
        """Broken YAML, duplicate keys, tags, endless nesting and bytes that are no text are errors with their line."""
        error = refuse(content)
        assert error.line == line
        assert said in error.problem

    def test_a_bomb_of_aliases_is_refused(self, refuse: Callable[[str], ConfigError]) -> None:
        """Nine lines that would expand to a thousand million values are refused at once."""
        levels = ["a0: &a0 [x]"] + [
            f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 10)
        ]
        assert "too many values" in refuse("\n".join(levels)).problem

    def test_a_huge_file_is_refused_unread(self, refuse: Callable[[bytes], ConfigError]) -> None:
        """A file that cannot be a configuration (a log, an image) is not parsed."""
        assert "larger than" in refuse(b"# " + b"x" * 300_000).problem

    def test_a_missing_file_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        """No file, no traceback."""
        with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: there is no such file; docs/examples"):
            load_config(tmp_path / "absent.yaml")

    def test_a_named_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        """Nobody may ever write into it. What a shell gives for `<(…)` is read."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ConfigError, match="is a named pipe"):
            load_config(tmp_path / "pipe")
        reading, writing = os.pipe()
        with os.fdopen(reading), os.fdopen(writing, "w") as file:
            file.write("label_prefix: mine\n")
            file.close()
            assert load_config(Path(f"/dev/fd/{reading}")).label_prefix == "mine"

    def test_a_link_that_leads_nowhere_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        """To itself."""
        (tmp_path / "loop.yaml").symlink_to("loop.yaml")
        with pytest.raises(ConfigError, match=r"loop\.yaml: cannot be read: Too many levels"):
            load_config(tmp_path / "loop.yaml")

    def test_a_directory_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        """A directory is no file."""
        with pytest.raises(ConfigError, match="directory"):
            load_config(tmp_path)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("abmode: local{}[]&*!-|>'\"#\n\t\\x0", max_size=60)))
def test_no_file_makes_it_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, content: bytes | str) -> None:
    """Whatever the bytes, the answer is a configuration or a ConfigError."""
    path = tmp_path_factory.mktemp("fuzz") / "cluster.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config(path), ClusterConfig)
