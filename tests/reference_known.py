"""Where the references differ from us, item by item, each with the sentence of the Sigma specification that decides.

MODIFIERS is the Sigma modifiers appendix 2.1.0 (2025-08-02), RULES the Sigma rules specification (text of 2024-08-08,
the sentences are the same in 2.1), both of SigmaHQ/sigma-specification. `applies` says for which item and event a
difference is excused; it is asked only about pairs on which the two disagree. `example` proves that the reference
still differs: when it no longer does, the entry must go.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from reference_rules import Event, Item

MODIFIERS = "Sigma modifiers appendix 2.1.0"
RULES = "Sigma rules specification"
SIDES = {"contains", "startswith", "endswith"}


@dataclass(frozen=True)
class Known:
    """One difference; `theirs` is None where the reference refuses the rule."""

    name: str
    reference: str
    applies: Callable[[Item, Event], bool]
    item: Item
    event: Event
    ours: bool
    theirs: bool | None
    source: str
    says: str
    beside: Event | None = None  # another event, where the difference needs one


def _texts(item: Item, event: Event) -> list[str]:
    """The texts that an item compares."""
    if item.field is None:
        return [*map(str, event.values()), *map(str, item.values)]
    found = [str(event.get(item.field, "")), *map(str, item.values)]
    return found + [str(event.get(v, "")) for v in item.values if "fieldref" in item.modifiers]


def _beyond_ascii(item: Item, event: Event) -> bool:
    return any(not text.isascii() for text in _texts(item, event))


_DATA = re.compile(
    r"""(?is)\s*(?:[-+]?[0-9][0-9_]*\.?[0-9]*|[-+]?\.[0-9]+|_|[-+]?0x[0-9a-f]+|true|false|null|~|".*"|'.*')?\s*"""
)


def _reads_as_data(item: Item, event: Event) -> bool:
    return any(isinstance(value, str) and _DATA.fullmatch(value) for value in item.values)


KNOWN = (
    Known(
        "case outside ASCII",
        "sqlite",
        _beyond_ascii,
        Item("user_agent", ("contains",), ("é",)),
        {"user_agent": "CAFÉ"},
        True,
        False,
        RULES,
        "All values are treated as case-insensitive strings.",
    ),
    Known(
        "weeks count from 0 (strftime %W)",
        "sqlite",
        lambda item, event: "week" in item.modifiers,
        Item("timestamp", ("week",), (1,)),
        {"timestamp": 1735691400.0},  # 2025-01-01: %W says 0, ISO 8601 says 1
        True,
        False,
        MODIFIERS,
        "`week`: number between 1 and 52.",
    ),
    Known(
        "the alternatives of a network lose their brackets inside AND",
        "sqlite",
        lambda item, event: {"cidr", "all"} <= set(item.modifiers),
        Item("src_ip", ("cidr", "all"), ("172.31.0.0/20", "2001:db8::/32")),
        {"src_ip": "172.31.0.9"},
        False,
        True,
        MODIFIERS,
        "`all`: Normally, lists of values are linked with *OR* in the generated query. "
        "This modifier changes this to *AND*.",
    ),
    Known(
        "no keywords",
        "sqlite",
        lambda item, event: item.field is None,
        Item(None, (), ("curl",)),
        {"user_agent": "curl/8.5"},
        True,
        None,
        RULES,
        "strings that are applied to the full log message and are linked with a logical 'OR'.",
    ),
    Known(
        "neq asks that the field is there",
        "tenzir",
        lambda item, event: "neq" in item.modifiers and item.field not in event,
        Item("user_agent", ("neq",), ("curl",)),
        {"ttl": 64},
        True,
        False,
        MODIFIERS,
        "`neq`: The field is different from the specified values.",  # pySigma and its backends: NOT of the match
        beside={"user_agent": "Wget"},  # a field that no event has is another thing to Tenzir
    ),
    Known(
        "neq with all: different from each, not different from all together",
        "tenzir",
        lambda item, event: {"neq", "all"} <= set(item.modifiers) or {"neq", "cidr"} <= set(item.modifiers),
        Item("status", ("all", "neq"), (200, 404)),
        {"status": 200},
        True,
        False,
        MODIFIERS,
        "This modifier changes this to *AND*.",
    ),
    Known(
        "keywords are texts of text fields only",
        "tenzir",
        lambda item, event: item.field is None,
        Item(None, ("all",), ("curl", "latest")),
        {"user_agent": "curl/8.5", "payload": "latest"},
        True,
        False,
        RULES,
        "To have a **and** operator , we use the `'|all':` modifier",
    ),
    Known(
        "a quoted text is read once more as data",
        "tenzir",
        _reads_as_data,
        Item("user_agent", (), ("80",)),
        {"user_agent": "80"},
        True,
        False,
        RULES,
        "All values are treated as case-insensitive strings.",
    ),
    Known(
        "the quotes of a regular expression are taken off, and what is left is none",
        "tenzir",
        lambda item, event: "re" in item.modifiers and _reads_as_data(item, event),
        Item("user_agent", ("re",), ('"?q"',)),
        {"user_agent": 'q"'},
        True,
        None,
        MODIFIERS,
        "`re`: Value is handled as a regular expression by backends.",
    ),
    Known(
        "a number never equals a text",
        "tenzir",
        lambda item, event: item.kind == "text" and any(not isinstance(v, str) for v in item.values),
        Item("user_agent", (), (80,)),
        {"user_agent": "80"},
        True,
        False,
        RULES,
        "All values are treated as case-insensitive strings.",
    ),
    Known(
        "no parts of numbers",
        "tenzir",
        lambda item, event: item.kind == "int" and "contains" in item.modifiers,
        Item("status", ("contains",), ("0",)),
        {"status": 404},
        True,
        False,
        RULES,
        "All values are treated as case-insensitive strings.",
    ),
    Known(
        "a field reference is compared with case",
        "tenzir",
        lambda item, event: "fieldref" in item.modifiers,
        Item("user_agent", ("fieldref",), ("role",)),
        {"user_agent": "Curl", "role": "curl"},
        True,
        False,
        MODIFIERS,
        "Default Sigma behavior is case-insensitive matching.",
    ),
    Known(
        "no parts and no lists of field references",
        "tenzir",
        lambda item, event: "fieldref" in item.modifiers and bool((SIDES | {"all"}) & set(item.modifiers)),
        Item("user_agent", ("fieldref", "contains"), ("role",)),
        {"user_agent": "a curl b", "role": "curl"},
        True,
        None,
        RULES,
        "appended after the field name with a pipe character `|` as separator and can also be chained",
    ),
    Known(
        "no neq of a numeric comparison",
        "tenzir",
        lambda item, event: "neq" in item.modifiers and bool({"lt", "lte", "gt", "gte"} & set(item.modifiers)),
        Item("status", ("gt", "neq"), (200,)),
        {"status": 100},
        True,
        None,
        RULES,
        "appended after the field name with a pipe character `|` as separator and can also be chained",
    ),
)  # fmt: skip


def excuse(reference: str, item: Item, event: Event, *, refused: bool = False) -> Known | None:
    """Return the known difference that a disagreement falls under, if any."""
    for known in KNOWN:
        if known.reference == reference and (known.theirs is None) == refused and known.applies(item, event):
            return known
    return None
