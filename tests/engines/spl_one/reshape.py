"""Commands that reshape rows one by one or put them in another order.

Each is answered as its page in the Search Reference says; the page has the command's name. The key `id` stays with
a row through commands that choose fields, so that a caller can tell which event a row is. Longer than most because
it is a row of small commands that share nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from . import times
from .errors import SplError
from .text import bare, closing, options, words
from .values import Event, Value, listed, matched_names, number, packed, pattern, text

if TYPE_CHECKING:
    from .commands import Run

Rows = list[Event]


def assign(row: Event, name: str, value: Value) -> None:
    if value is None:
        row.pop(name, None)
    else:
        row[name] = value


def rex(run: Run, body: str, rows: Rows) -> Rows:
    """Extract named groups of an unanchored regular expression, or edit with sed (`mode=sed`)."""
    opts, rest = options(words(body), {"field", "max_match", "mode", "offset_field"})
    if len(rest) != 1 or "offset_field" in opts:
        raise SplError("rex takes one regular expression; offset_field is not known to this evaluator")
    field, given = opts.get("field", "_raw"), bare(rest[0])
    if opts.get("mode") == "sed":
        return [edited(row, field, given) for row in rows]
    matcher, most = pattern(given), int(opts.get("max_match", "1"))
    if not matcher.groupindex:
        raise SplError("rex needs a named group (?<name>…)")
    out = []
    for row in rows:
        row = dict(row)
        found = [one for value in listed(row.get(field)) for one in matcher.finditer(text(value))]
        for name in matcher.groupindex if found else ():
            kept = [one[name] for one in (found[:most] if most else found) if one[name] is not None]
            if kept:
                assign(row, name, packed(kept))
        out.append(row)
    return out


def edited(row: Event, field: str, script: str) -> Event:
    shape = re.fullmatch(r"s(.)(.*?)(?<!\\)\1(.*?)(?<!\\)\1(g|\d*)", script, re.DOTALL)
    if not shape:
        raise SplError(f"rex: sed script {script!r} is not known to this evaluator")
    mark, matcher, flag = shape[1], pattern(shape[2].replace(f"\\{shape[1]}", shape[1])), shape[4]

    def change(value: str) -> str:
        hits = 0

        def one(found: re.Match[str]) -> str:
            nonlocal hits
            hits += 1
            if flag != "g" and hits != int(flag or "1"):
                return found[0]
            return re.sub(
                r"\\(\d)", lambda sign: found[int(sign[1])] or "", shape[3].replace(f"\\{mark}", mark)
            )

        return matcher.sub(one, value)

    return (
        {**row, field: packed([change(text(value)) for value in listed(row[field])])} if field in row else row
    )


def regex(run: Run, body: str, rows: Rows) -> Rows:
    """Keep rows whose field matches (`=`) or does not match (`!=`) an unanchored regular expression."""
    shape = re.fullmatch(r"(?:([\w.:{}-]+)\s*(!?=)\s*)?(\"(?:\\.|[^\"\\])*\"|\S+)", body, re.DOTALL)
    if not shape:
        raise SplError("regex takes [<field>(=|!=)]<regular expression>", body, 0)
    field, wanted, matcher = shape[1] or "_raw", shape[2] != "!=", pattern(bare(shape[3]))
    out = []
    for row in rows:
        hits = [bool(matcher.search(text(value))) for value in listed(row.get(field))]
        if not hits:
            keep = not wanted and run.readings.take("regex: != on a missing field", True, False)
        else:
            place = "regex: a multivalue field of which some values match"
            hit = run.readings.take(place, any(hits), all(hits), hits[0])
            keep = hit is wanted
        if keep:
            out.append(row)
    return out


def fields(run: Run, body: str, rows: Rows) -> Rows:
    """Keep (`+`) or remove (`-`) fields; internal fields stay unless removed by name."""
    shape = re.match(r"([+-])\s*", body)
    names = [bare(word) for word in words(body[shape.end() :] if shape else body)]
    remove = bool(shape and shape[1] == "-")
    out = []
    for row in rows:
        named = {name for wanted in names for name in matched_names(wanted, list(row))}
        out.append(
            {
                name: value
                for name, value in row.items()
                if name == "id"
                or ((name not in named) if remove else (name in named or name.startswith("_")))
            }
        )
    return out


def table(run: Run, body: str, rows: Rows) -> Rows:
    """Give only the named fields, in that order."""
    wanted = [bare(word) for word in words(body)]
    present = list(dict.fromkeys(name for row in rows for name in row))
    order = list(dict.fromkeys(name for one in wanted for name in matched_names(one, present)))
    return [{name: row[name] for name in ("id", *order) if name in row} for row in rows]


def rename(run: Run, body: str, rows: Rows) -> Rows:
    """Rename; a name that does not exist takes the new name's value away ("Renaming a field that does not exist")."""
    args, pairs = words(body), []
    while args:
        if len(args) < 3 or args[1].upper() != "AS":
            raise SplError("rename takes <field> AS <field>")
        pairs.append((bare(args[0]), bare(args[2])))
        args = args[3:]
    out = []
    for row in rows:
        row = dict(row)
        for old, new in pairs:
            if old.count("*") != new.count("*"):
                raise SplError(f"rename {old} AS {new}: the wildcards do not correspond")
            for name, target in renamed(old, new, row):
                value = row.pop(name, None)
                assign(row, target, value)
        out.append(row)
    return out


def renamed(old: str, new: str, row: Event) -> list[tuple[str, str]]:
    if "*" not in old:
        return [(old, new)]
    matcher = re.compile("(.*)".join(re.escape(part) for part in old.split("*")))
    out = []
    for name in list(row):
        found = matcher.fullmatch(name)
        if found:
            pieces = new.split("*")
            filled = [part + piece for part, piece in zip((*found.groups(), ""), pieces[1:], strict=False)]
            out.append((name, pieces[0] + "".join(filled)))
    return out


def bin_(run: Run, body: str, rows: Rows) -> Rows:
    """Round a field down to a multiple of its span; `_time` by a span of time ("bin")."""
    opts, rest = options(words(body), {"span"})
    names = [bare(word) for word in rest]
    if "span" not in opts or len(names) not in (1, 3) or (len(names) == 3 and names[1].upper() != "AS"):
        raise SplError("bin takes span=<span> <field> [AS <field>]")
    field, target = names[0], names[-1]
    width = number(opts["span"])
    out = []
    for row in rows:
        row = dict(row)
        if field in row and field == "_time":
            row[target] = (
                (times.event_time(row[field]) or 0)
                // (width or times.span(opts["span"]))
                * (width or times.span(opts["span"]))
            )
        elif field in row and (amount := number(row[field])) is not None:
            if not width:
                raise SplError(f"bin: span={opts['span']} is no number")
            low = amount // width * width
            row[target] = f"{text(low)}-{text(low + width)}"
        out.append(row)
    return out


def dedup(run: Run, body: str, rows: Rows) -> Rows:
    """Keep the first N rows of each combination of values; rows without one of the fields go ("keepempty=false")."""
    body, _, sortby = body.partition(" sortby ")
    opts, rest = options(words(body), {"keepempty", "consecutive", "keepevents"})
    most = int(rest.pop(0)) if rest and rest[0].isdigit() else 1
    if "keepevents" in opts or not rest:
        raise SplError("dedup needs fields; keepevents is not known to this evaluator")
    names = [bare(word) for word in rest]
    keep_empty, consecutive = (
        opts.get(name, "f").lower() in ("t", "true", "1") for name in ("keepempty", "consecutive")
    )
    seen: dict[tuple[str, ...], int] = {}
    out = []
    for row in rows:
        if any(name not in row for name in names):
            if keep_empty:
                out.append(row)
            continue
        key = tuple(repr(listed(row[name])) for name in names)
        count = seen.get(key, 0)
        if consecutive:
            seen.clear()
        seen[key] = count + 1
        if count < most:
            out.append(row)
    return sort(run, f"0 {sortby}", out) if sortby else out


def sort(run: Run, body: str, rows: Rows) -> Rows:
    """Order rows; at most 10000 are given out unless the number says otherwise (0: all). Missing fields come last."""
    shape = re.match(r"(?:limit\s*=\s*)?(\d+)\s+", body)
    most = int(shape[1]) if shape else 10_000
    body = body[shape.end() :] if shape else body
    out = list(rows)
    reverse_all = re.search(r"\s+(?:d|desc)$", body)
    body = body[: reverse_all.start()] if reverse_all else body
    keys = re.findall(r"([+-]?)\s*(?:(auto|num|str|ip)\(([^)]+)\)|(\"[^\"]+\"|[^\s,]+))", body)
    if not keys:
        raise SplError("sort needs fields")
    for sign, kind, inner, plain in reversed(keys):
        name = bare(inner or plain)
        numeric = kind == "num" or (
            kind != "str" and all(number(row[name]) is not None for row in rows if name in row)
        )
        present = [row for row in out if name in row]
        present.sort(
            key=lambda row, name=name, numeric=numeric: (
                (number(row[name]) or 0, "") if numeric else (0, text(row[name]))
            ),
            reverse=sign == "-",
        )
        out = present + [row for row in out if name not in row]
    if reverse_all:
        out.reverse()
    return out[:most] if most else out


def head(run: Run, body: str, rows: Rows) -> Rows:
    shape = re.fullmatch(r"(?:limit\s*=\s*)?(\d+)?", body)
    if not shape:
        raise SplError("head with a condition is not known to this evaluator")
    return rows[: int(shape[1] or "10")]


def fill_null(run: Run, body: str, rows: Rows) -> Rows:
    """Give fields that are null a value: the named ones, or every field that any row has."""
    opts, rest = options(words(body), {"value"})
    names = [bare(word) for word in rest] or list(
        dict.fromkeys(name for row in rows for name in row if name != "id")
    )
    return [{**{name: opts.get("value", "0") for name in names}, **row} for row in rows]


def mvexpand(run: Run, body: str, rows: Rows) -> Rows:
    names = [bare(word) for word in words(body)]
    if len(names) != 1:
        raise SplError("mvexpand takes one field; limit= is not known to this evaluator")
    return [
        {**row, names[0]: value} if names[0] in row else row
        for row in rows
        for value in listed(row.get(names[0])) or [None]
    ]


def makemv(run: Run, body: str, rows: Rows) -> Rows:
    opts, rest = options(words(body), {"delim", "allowempty"})
    if len(rest) != 1:
        raise SplError("makemv takes delim= and one field; tokenizer= is not known to this evaluator")
    name, mark = bare(rest[0]), opts.get("delim", " ")
    empty = opts.get("allowempty", "f").lower() in ("t", "true", "1")
    split = [packed([one for one in text(row.get(name, "")).split(mark) if one or empty]) for row in rows]
    return [
        {**row, name: value} if name in row and value is not None else row
        for row, value in zip(rows, split, strict=True)
    ]


def convert(run: Run, body: str, rows: Rows) -> Rows:
    """Only `ctime(field) [AS field]`, with `timeformat=` ("convert"; default %m/%d/%Y %H:%M:%S)."""
    given = re.match(r"timeformat\s*=\s*(\"[^\"]*\"|\S+)\s*", body)
    layout = bare(given[1]) if given else "%m/%d/%Y %H:%M:%S"
    rest = body[given.end() :] if given else body
    out = [dict(row) for row in rows]
    while rest.strip():
        shape = re.match(r"\s*,?\s*ctime(?=\()", rest)
        if not shape:
            raise SplError(f"convert: {rest.strip()[:30]!r} is not known to this evaluator")
        end = closing(rest, shape.end())
        name, rest = bare(rest[shape.end() + 1 : end - 1].strip()), rest[end:]
        target = re.match(r"\s+AS\s+(\"[^\"]+\"|[^\s,]+)", rest, re.IGNORECASE)
        rest = rest[target.end() :] if target else rest
        for row in out:
            moments = [times.event_time(value) for value in listed(row.get(name))]
            written = [times.formatted(moment, layout) for moment in moments if moment is not None]
            if written:
                row[bare(target[1]) if target else name] = packed(written)
    return out


def spath(run: Run, body: str, rows: Rows) -> Rows:
    """Extract from JSON: one `path=`, or every leaf; elements of a list are named `name{}`. No XML."""
    opts, rest = options(words(body), {"input", "output", "path"})
    path = opts.get("path", bare(rest[0]) if rest else "")
    out = []
    for row in rows:
        row = dict(row)
        try:
            tree = json.loads(text(row.get(opts.get("input", "_raw"), "")))
        except ValueError:
            out.append(row)
            continue
        leaves: dict[str, list[Value]] = {}
        gather(tree, "", leaves)
        if path:
            assign(row, opts.get("output", path), packed(leaves.get(path, [])))
        else:
            for name, values in leaves.items():
                assign(row, name, packed(values))
        out.append(row)
    return out


def gather(tree: Any, name: str, leaves: dict[str, list[Value]]) -> None:
    if isinstance(tree, dict):
        for key, value in tree.items():
            gather(value, f"{name}.{key}" if name else key, leaves)
    elif isinstance(tree, list):
        for value in tree:
            gather(value, name + "{}", leaves)
    elif tree is not None:
        leaves.setdefault(name, []).append(str(tree).lower() if isinstance(tree, bool) else text(tree))
