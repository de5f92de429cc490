"""The remedies as a PowerShell script that makes one Group Policy object with them.

Pure. Values below a `Policies` key are policy settings, which go when the object goes; others are preferences, which
stay. Source: Microsoft, GroupPolicy module (New-GPO, Set-GPRegistryValue, Set-GPPrefRegistryValue, New-GPLink).
"""

from __future__ import annotations

from collections.abc import Sequence

from imdswatch.host import export
from imdswatch.host.catalogue import Catalogue, Remedy

_HEAD = """\
# {head}
# Run it where the Group Policy tools are installed; -Target links the object, such as 'OU=Servers,DC=example,DC=com'.
#Requires -Modules GroupPolicy
param(
    [string] $Name = 'No EC2 metadata service off EC2 (AWS-2025-021)',
    [string] $Target = ''
)
$ErrorActionPreference = 'Stop'
if (-not (Get-GPO -All | Where-Object {{ $_.DisplayName -eq $Name }})) {{
    New-GPO -Name $Name | Out-Null
}}
"""
_FOOT = """\

if ($Target) {
    New-GPLink -Name $Name -Target $Target | Out-Null
}
"""


def render(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> str:
    """Return the script."""
    lines = [_HEAD.format(head=export.HEAD)]
    for remedy in remedies:
        if block == "none" and any(step.block for step in remedy.steps):
            continue
        lines.append(f"# {remedy.slug}: {remedy.title}")
        for value in remedy.windows:
            if value.file:
                lines.append(f"# In {value.file}, set {'.'.join(value.key)} to {list(value.value)} by hand.")
                continue
            key, name, data = map(_quoted, (value.key[0], value.name, value.data))
            call = (
                f"Set-GPRegistryValue -Name $Name -Key {key} -ValueName {name} -Type String -Value {data}"
                if "\\Policies\\" in value.key[0]
                else f"Set-GPPrefRegistryValue -Name $Name -Context Computer -Action Update -Key {key}"
                f" -ValueName {name} -Type String -Value {data}"
            )
            lines.append(f"{call} | Out-Null")
        lines += [f"# {note}" for note in remedy.windows_notes]
        if not remedy.windows:
            lines.append("# Nothing to do on Windows, or by hand.")
    return "\n".join([*lines, _FOOT])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
