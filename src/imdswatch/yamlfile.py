"""A YAML mapping that knows file and line of every key and rejects keys nobody asked for.

Scalars are read as the text that stands in the file: `NO` is "NO" and `6` is "6", never False or a number, because
log values are texts. Only `null`, `~` and an empty value are None. Every mistake is a SchemaError with file and line.
Reading needs no I/O; `load` takes the text.
"""

from __future__ import annotations

from typing import Any

import yaml

from imdswatch.errors import SchemaError

# The C loader is ten times faster and gives the same nodes; some builds of PyYAML come without it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"


class Table:
    """One mapping of a YAML file, whose keys are taken one by one; `done` complains about what is left."""

    def __init__(self, node: yaml.Node, file: str) -> None:
        self._start = node.start_mark
        self.file, self.line = file, self._start.line + 1
        self._nodes: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        self._taken: set[str] = set()
        if not isinstance(node, yaml.MappingNode):
            raise SchemaError("expected `key: value` lines here", file=file, line=self.line)
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise SchemaError("a key must be plain text", file=file, line=line)
            if key.value in self._nodes:
                raise SchemaError(f"key {key.value!r} is given twice", file=file, line=line)
            self._nodes[key.value], self._lines[key.value] = value, line

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def error(self, key: str, what: str, help: str = "") -> SchemaError:
        """Return the error to raise about one key, at the line of that key."""
        return SchemaError(what, file=self.file, line=self._lines.get(key, self.line), help=help)

    def _take(self, key: str) -> yaml.Node | None:
        self._taken.add(key)
        node = self._nodes.get(key)
        if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
            return None
        return node

    def names(self) -> list[str]:
        """Return all keys in the order of the file."""
        return list(self._nodes)

    def text(self, key: str, default: str | None = None) -> str:
        """Return the text of a key; without it, the default, and without a default it is an error."""
        node = self._take(key)
        if node is None:
            if default is None:
                raise self.error(key, f"key {key!r} is missing")
            return default
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(key, f"{key!r} must be one text")
        return str(node.value)

    def optional(self, key: str) -> str | None:
        """Return the text of a key, or None if it is absent or null."""
        return self.text(key) if self._take(key) is not None else None

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        """Return the text of a key, which must be one of the choices."""
        found = self.text(key, default)
        if found not in choices:
            raise self.error(key, f"{key!r} is {found!r}", f"one of: {', '.join(choices)}")
        return found

    def number(self, key: str, low: int, high: int) -> int:
        """Return a whole number within bounds."""
        found = self.text(key)
        if not (found.isascii() and found.isdigit() and low <= int(found) <= high):
            raise self.error(key, f"{key!r} must be a whole number from {low} to {high}")
        return int(found)

    def flag(self, key: str) -> bool:
        """Return true or false; false without the key."""
        return self.choice(key, ("true", "false"), "false") == "true"

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; one text stands for a list of one, no key for the empty list."""
        node = self._take(key)
        if node is None:
            return ()
        if isinstance(node, yaml.ScalarNode):
            return (str(node.value),)
        if not isinstance(node, yaml.SequenceNode) or not all(
            isinstance(n, yaml.ScalarNode) for n in node.value
        ):
            raise self.error(key, f"{key!r} must be a text or a list of texts")
        return tuple(str(item.value) for item in node.value)

    def table(self, key: str) -> Table:
        """Return the mapping under a key; an empty one without the key."""
        node = self._take(key)
        if node is None:
            node = yaml.MappingNode("", [], self._start, self._start)
        return Table(node, self.file)

    def is_table(self, key: str) -> bool:
        """Say whether the value of a key is a mapping."""
        return isinstance(self._nodes.get(key), yaml.MappingNode)

    def tables(self, key: str) -> list[Table]:
        """Return the list of mappings under a key; empty without the key."""
        node = self._take(key)
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(key, f"{key!r} must be a list")
        return [Table(item, self.file) for item in node.value]

    def mapping(self, key: str) -> dict[str, str]:
        """Return the mapping of text to text under a key; empty without the key."""
        inner = self.table(key)
        return {name: inner.text(name, "") for name in inner.names()}

    def choices(self, key: str) -> dict[str, tuple[str, ...]]:
        """Return a mapping of text to a list of texts; empty without the key."""
        inner = self.table(key)
        return {name: inner.texts(name) for name in inner.names()}

    def done(self) -> None:
        """Raise for the first key that nobody took: it is a spelling mistake."""
        for key in self._nodes:
            if key not in self._taken:
                known = ", ".join(sorted(self._taken))
                raise self.error(key, f"unknown key {key!r}", f"known here: {known}")


def load(text: str, file: str) -> Table:
    """Return the top mapping of a YAML text; raises SchemaError if it is no YAML or no mapping."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SchemaError(f"not valid YAML: {error.problem}", file=file, line=line) from None
    except yaml.YAMLError:
        raise SchemaError("not valid YAML", file=file, help="the file must be UTF-8 text") from None
    if node is None:
        raise SchemaError("the file is empty", file=file)
    return Table(node, file)
