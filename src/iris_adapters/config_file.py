"""YAML file → ClusterConfig. A wrong file is a ConfigError that names file, line and key path.

The file is read by the rules of YAML 1.2 for plain values: `no`, `on`, `012` and `1:30` are text and not a boolean, a boolean, ten
and ninety (https://yaml.org/spec/1.2.2/#103-core-schema). Types are strict: `"3"` is no number, `8080` no text.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from iris_adapters.config_mending import follows, mend
from iris_core.config import ClusterConfig
from iris_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import ErrorDetails

    from iris_adapters.config_mending import KeyPath

_MOST_BYTES = 256 * 1024
_MOST_VALUES = 10_000
_MOST_DEPTH = 20
_MOST_ROUNDS = 50  # of reading what is left of a file with mistakes in it
_MOST_QUOTED_CHARACTERS = 60

_TAG = "tag:yaml.org,2002:"
_PLAIN_VALUES = {
    _TAG + "null": re.compile(r"(~|null|Null|NULL)?"),
    _TAG + "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    _TAG + "int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    _TAG + "float": re.compile(r"[-+]?(0|[1-9][0-9]*)?(\.[0-9]+|\.?[0-9]*[eE][-+]?[0-9]+|(?<=[0-9])\.)"),
}
_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "a section",
    "dict_type": "a section",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "string_type": "text",
    "tuple_type": "a list",
}


def load_config(path: Path) -> ClusterConfig:
    """Read a cluster's configuration. An empty file is a local cluster with every default.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or has a key or value that is wrong; all wrong keys are told at once.
    """
    document = _Document(path)
    values = document.read()
    try:
        return _validate(values)
    except ValidationError as error:
        first, *others = sorted(_all_problems(document, values, error), key=lambda each: each.line or 0)
        raise ConfigError(
            "\n".join([first.problem, *map(str, others)]), key_path=first.key_path, file=path, line=first.line
        ) from error


def _validate(values: dict[str, Any]) -> ClusterConfig:
    content = json.dumps(values)  # pydantic's strict mode takes lists and enum values from JSON only
    return _validator().validate_json(content, strict=True)


def _all_problems(document: _Document, values: dict[str, Any], error: ValidationError) -> list[ConfigError]:
    """What was found, and what is found once that has been put right (in `values`), and so on."""
    told: dict[KeyPath, ConfigError] = {}
    tries: Counter[KeyPath] = Counter()
    for _ in range(_MOST_ROUNDS):
        found = dict(document.explain(details) for details in error.errors(include_url=False))
        told |= {path: problem for path, problem in found.items() if path not in told and not follows(path, told)}
        if not sum(mend(values, path, tries[path]) for path in found):
            break
        tries.update(found.keys())
        try:
            _validate(values)
        except ValidationError as next_error:
            error = next_error
        else:
            break
    return list(told.values())


@cache
def _validator() -> TypeAdapter[ClusterConfig]:
    validator = TypeAdapter(ClusterConfig)
    # The core imports Mapping for type checkers only.
    validator.rebuild(force=True, _types_namespace={"Mapping": Mapping})
    return validator


class _Loader(yaml.SafeLoader):
    """YAML 1.2's plain values, and a bound on nesting: PyYAML composes recursively."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's stubs call it an instance variable
        None: [(tag, re.compile(f"(?:{pattern.pattern})$")) for tag, pattern in _PLAIN_VALUES.items()]
    }
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise yaml.MarkedYAMLError(problem=_TOO_DEEP, problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_TOO_DEEP = f"too deep: values are nested in more than {_MOST_DEPTH} levels"


class _Document:
    """A file on its way to a configuration: plain values, and the line of each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[KeyPath, int] = {}
        self._values = 0
        self._text = ""

    def read(self) -> dict[str, Any]:
        """The file's plain values: only what JSON can say."""
        try:
            root = _Loader(self._read_text()).get_single_node()
        except yaml.reader.ReaderError as error:
            raise self._error(f"not YAML: {error.reason}", line=self._line_of(error.position)) from error
        except yaml.MarkedYAMLError as error:
            line = None if error.problem_mark is None else error.problem_mark.line + 1
            problem = ", ".join(
                filter(None, [error.context, error.problem])
            )  # "expected a single document…, but found another…"
            raise self._error(f"not YAML that iris reads: {problem}", line=line) from error
        value = {} if root is None else self._plain(root, ())
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._error(f"the file must be a mapping of keys to values, is {_show(value)}", line=self._lines[()])
        return value

    def explain(self, details: ErrorDetails) -> tuple[KeyPath, ConfigError]:
        """What pydantic found, in the words of the file, and where."""
        path, kind, found = details["loc"], details["type"], _show(details["input"])
        if kind == "value_error":
            return self._explain_refusal(path, details.get("ctx", {})["error"])
        if kind == "missing":
            problem = "is missing"
        elif kind == "unexpected_keyword_argument":
            problem = "there is no such key" + _suggest(path)
        elif kind == "enum":
            problem = f"must be {details['ctx']['expected']}, is {found}"
        elif kind in _EXPECTED:
            quote = ": quote it" if kind == "string_type" and isinstance(details["input"], bool | int | float) else ""
            problem = f"must be {_EXPECTED[kind]}, is {found}{quote}"
        else:
            problem = f"{details['msg']}, is {found}"
        return path, self._error(problem, path)

    def _explain_refusal(self, path: KeyPath, error: ConfigError) -> tuple[KeyPath, ConfigError]:
        """A refusal by the core: its key path knows neither file nor place in a list (`workers.name`)."""
        section = [part for part in path if isinstance(part, str)]
        rest = error.key_path.removeprefix(".".join(section)).removeprefix(".")
        path = self._locate(path, rest)
        return path, self._error(error.problem, path)

    def _locate(self, path: KeyPath, rest: str) -> KeyPath:
        """Follow a dotted rest from a path; a key of the file may itself contain dots."""
        parts = rest.split(".") if rest else []
        while parts:
            size = next((n for n in range(len(parts), 0, -1) if (*path, ".".join(parts[:n])) in self._lines), 0)
            if size:
                path = (*path, ".".join(parts[:size]))
                parts = parts[size:]
            else:
                path = (*path, int(parts[0]) if parts[0].isdecimal() else parts[0])
                parts = parts[1:]
        return path

    def _read_text(self) -> str:
        try:
            real = Path(os.path.realpath(self._path))  # of one of the shell's pipes, `<(…)`: no path at all
            if real.is_fifo():
                raise self._error("is a named pipe, and nobody may ever write into it: name a file")
            with self._path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError as error:
            raise self._error("cannot be read: there is no such file; docs/examples/ has some to begin with") from error
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror or error}") from error
        if len(content) > _MOST_BYTES:
            raise self._error(f"is larger than {_MOST_BYTES // 1024} KiB: this is not a cluster's configuration")
        try:
            self._text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self._error("is not UTF-8 text here", line=line) from error
        return self._text

    def _line_of(self, position: int) -> int:
        return self._text.count("\n", 0, position) + 1

    def _plain(self, node: yaml.Node, path: KeyPath) -> Any:
        """The value of a node, and the line of it and of everything in it."""
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._values += 1
        if self._values > _MOST_VALUES:
            raise self._error(f"too many values: more than {_MOST_VALUES} once every alias is written out", line=line)
        if len(path) > _MOST_DEPTH:  # an alias inside its own anchor
            raise self._error(_TOO_DEEP, line=line)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return {key: self._plain(value, (*path, key)) for key, value in self._items(node, path)}
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._plain(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        raise self._error(f"the tag {node.tag} is not one that iris reads", path, line=line)

    def _items(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, yaml.Node]]:
        seen: dict[str, int] = {}
        for key_node, value in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error("a key must be a word, not a list or section", path, line=line)
            key = self._text_of(key_node, path)
            if key == "<<":
                raise self._error("'<<' is no key: YAML 1.2 has no merge keys, write the values out", path, line=line)
            if key in seen:
                raise self._error(f"this key is there twice, first on line {seen[key]}", (*path, key), line=line)
            seen[key] = self._lines[(*path, key)] = line
            yield key, value

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> str | float | bool | None:
        text, line = self._text_of(node, path), node.start_mark.line + 1
        if node.tag == _TAG + "str":
            return text
        pattern = _PLAIN_VALUES.get(node.tag)
        if pattern is None:
            raise self._error(f"the tag {node.tag} is not one that iris reads", path, line=line)
        kind = node.tag.removeprefix(_TAG)
        if not pattern.fullmatch(text):
            raise self._error(f"{_show(text)} is not a {kind}", path, line=line)
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        try:
            number = int(text) if kind == "int" else float(text)
        except ValueError:  # Python turns no more than 4,300 digits into an int
            number = math.inf
        if number in {math.inf, -math.inf}:
            raise self._error("the number is too large", path, line=line)
        return number

    def _text_of(self, node: yaml.ScalarNode, path: KeyPath) -> str:
        text: str = node.value
        line = node.start_mark.line + 1
        if "\0" in text:
            raise self._error("the text has a NUL character, which no command or name can have", path, line=line)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self._error("the text has half a surrogate pair, which is no character", path, line=line) from error
        return text

    def _error(self, problem: str, path: KeyPath = (), *, line: int | None = None) -> ConfigError:
        """An error at a line, by default that of the path or of the nearest section around it."""
        around = path
        while line is None and around:
            line = self._lines.get(around)
            around = around[:-1]
        return ConfigError(_escape(problem), key_path=_escape(".".join(map(str, path))), file=self._path, line=line)


def _escape(text: str) -> str:
    """The text without anything that a terminal would obey."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
    )


def _show(value: object) -> str:
    """A value as an error message shows it."""
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        cut = value if len(value) <= _MOST_QUOTED_CHARACTERS else value[:_MOST_QUOTED_CHARACTERS] + "…"
        return f"the text {cut!r}"
    return json.dumps(value)


def _suggest(path: KeyPath) -> str:
    """Where to go from a key that does not exist: the same one elsewhere, else the nearest one beside it, else all of them."""
    *around, key = map(str, path)
    section = tuple(part for part in around if not part.isdecimal())
    known = {name for where, name in _all_keys() if where == section}
    if elsewhere := [".".join([*where, name]) for where, name in _all_keys() if name == key]:
        return f"; did you mean {' or '.join(elsewhere)}?"
    if nearest := difflib.get_close_matches(key, known, n=1):
        return f"; did you mean {nearest[0]}?"
    return f"; there are {', '.join(sorted(known))}"


@cache
def _all_keys() -> tuple[tuple[tuple[str, ...], str], ...]:
    """Every key of a configuration: the sections around it, and its name."""
    return tuple(_keys_of(ClusterConfig, ()))


def _keys_of(section: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    hints = get_type_hints(section, localns={"Mapping": Mapping})
    for field in fields(section):
        yield path, field.name
        for part in (hints[field.name], *get_args(hints[field.name])):
            if is_dataclass(part):
                yield from _keys_of(part, (*path, field.name))
