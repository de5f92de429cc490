"""The remedies as a registration file for Windows (`reg import`, or a double click).

Pure. Plain ASCII with the line ends of Windows: version 5.00 of the format is UTF-16 with a mark, or the code page of
the machine, and ASCII is the same in all of them. Source: Microsoft, "add, modify, or delete registry subkeys and
values by using a .reg file".
"""

from __future__ import annotations

from collections.abc import Sequence

from imdswatch.host import export
from imdswatch.host.catalogue import Catalogue, Remedy

_HIVES = {"HKLM": "HKEY_LOCAL_MACHINE"}


def render(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> str:
    """Return the file; a JSON file that needs a change, and what is for a person's hands, are comments."""
    lines = [
        "Windows Registry Editor Version 5.00",
        "",
        f"; {export.HEAD}",
        "; Processes that run keep their environment.",
    ]
    for remedy in remedies:
        if block == "none" and any(step.block for step in remedy.steps):
            continue
        lines += ["", f"; {remedy.slug}: {remedy.title}"]
        last = ""
        for value in remedy.windows:
            if value.file:
                lines.append(f"; In {value.file}, set {'.'.join(value.key)} to {list(value.value)} by hand.")
                continue
            hive, _, rest = value.key[0].partition("\\")
            if value.key[0] != last:
                lines += ["", f"[{_HIVES[hive]}\\{rest}]"]
                last = value.key[0]
            lines.append(f'"{_escaped(value.name)}"="{_escaped(value.data)}"')
        lines += [f"; {note}" for note in remedy.windows_notes]
        if not remedy.windows:
            lines.append("; Nothing to do on Windows, or by hand.")
    return "\r\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
