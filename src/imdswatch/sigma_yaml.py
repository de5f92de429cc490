"""The YAML of a rule file, as plain documents that nothing downstream can choke on.

A rule file may come from anybody. Refused with file and line, before anything recursive looks at it: nesting beyond
`MAX_DEPTH`, aliases that refer to themselves or unfold to more than `MAX_NODES` values, a key that is given twice
(YAML keeps the last, so half of a condition would vanish), a key that is no text, and text that is no Unicode.
Pure; raises RuleError only.
"""

from __future__ import annotations

from typing import Any

import yaml

from imdswatch.errors import RuleError
from imdswatch.sigma_lines import Marked, marked

MAX_DEPTH = 64
MAX_NODES = 200_000
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"


def read_yaml(text: str, file: str) -> list[Any]:
    """Return the documents of a rule file that are not empty."""
    return [one.document for one in read_marked(text, file)]


def read_marked(text: str, file: str) -> list[Marked]:
    """Return the documents of a rule file that are not empty, each with its place."""
    try:
        bound_depth(text, file)
        constructor = yaml.constructor.SafeConstructor()
        out = []
        for root in yaml.compose_all(text, Loader=_LOADER):
            _Check(file).count(root)
            out.append(marked(constructor.construct_document(root), root, text))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise RuleError(f"not valid YAML: {error.reason}", file=file, line=line) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise RuleError(f"not valid YAML: {problem}", file=file, line=mark.line + 1 if mark else 1) from error
    except ValueError as error:  # a date or number of the right shape that does not exist, such as 2026-02-31
        raise RuleError(f"not valid YAML: {error}", file=file, line=1) from error
    return [one for one in out if one.document is not None]


def bound_depth(text: str, file: str) -> None:
    """Raise RuleError for text that nests beyond `MAX_DEPTH`: the C composer would crash on it; or a YAMLError."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise RuleError("not valid YAML: nested too deeply", file=file, line=line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Check:
    """One walk over a document; `count` returns how many values a node unfolds to."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def count(self, node: yaml.Node) -> int:
        known = self._sizes.get(id(node))
        if known is not None:
            return known
        if id(node) in self._open:
            raise self._refuse("an alias refers to what it stands in", node)
        self._open.add(id(node))
        size = 1
        if isinstance(node, yaml.MappingNode):
            self._keys(node)
            size += sum(self.count(value) for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(map(self.count, node.value))
        else:
            self._unicode(node)
        if size > MAX_NODES:
            raise self._refuse("aliases unfold to more than a rule can hold", node)
        self._open.discard(id(node))
        self._sizes[id(node)] = size
        return size

    def _keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (_TEXT, _MERGE):
                shown = f"`{key.value}`" if isinstance(key, yaml.ScalarNode) else "of a mapping"
                raise self._refuse(f"a key {shown} must be text", key)
            self._unicode(key)
            if key.value in seen:
                raise self._refuse(f"key `{key.value}` is given twice", key)
            seen.add(key.value)

    def _unicode(self, node: yaml.Node) -> None:
        if any("\ud800" <= char <= "\udfff" for char in node.value):
            raise self._refuse("half of a surrogate pair is no text", node)

    def _refuse(self, what: str, node: yaml.Node) -> RuleError:
        return RuleError(f"not valid YAML: {what}", file=self.file, line=node.start_mark.line + 1)
