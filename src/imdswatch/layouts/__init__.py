"""Layouts: how the kinds of log lines are cut into source fields and put together again; `KINDS` is the list."""

from imdswatch.layouts.cef import Cef
from imdswatch.layouts.delimited import Delimited
from imdswatch.layouts.json import Json
from imdswatch.layouts.keyvalue import KeyValue
from imdswatch.layouts.leef import Leef
from imdswatch.layouts.logformat import LogFormat
from imdswatch.layouts.pattern import Pattern
from imdswatch.layouts.unknown import Unknown

Layout = Json | Delimited | LogFormat | Pattern | KeyValue | Cef | Leef | Unknown

KINDS: dict[str, type[Layout]] = {
    "json": Json,
    "delimited": Delimited,
    "logformat": LogFormat,
    "pattern": Pattern,
    "keyvalue": KeyValue,
    "cef": Cef,
    "leef": Leef,
    "unknown": Unknown,
}
