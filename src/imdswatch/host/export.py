"""The remedies as content for those who deploy by other means: Ansible, a shell script, Dockerfile lines, Windows.

Pure. What is written is for any host, so it asks on the host what `plan` reads from the tree; it cannot be taken back
by `imdswatch harden --revert`. What a form cannot carry stands in it as a comment.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from imdswatch.host.catalogue import Catalogue, Remedy, Step
from imdswatch.host.plan import PROGRAMS

EXPORTS = {
    "ansible": "imdswatch.host.render_ansible",
    "shell": "imdswatch.host.render_shell",
    "dockerfile": "imdswatch.host.render_dockerfile",
    "windows-registry": "imdswatch.host.render_registry",
    "windows-gpo": "imdswatch.host.render_gpo",
}
"""Form and the module whose `render` writes it."""
HEAD = "Made by imdswatch harden: AWS tools must not ask for the EC2 Instance Metadata Service here (AWS-2025-021)."
_LOOKING = ("units", "cron", "sudo", "logins")
"""Steps that depend on all of what stands on a host; only `imdswatch harden --apply` does them."""
EC2 = "Amazon EC2"
"""What the firmware of an EC2 instance calls itself (/sys/class/dmi/id/sys_vendor); content for hosts stops there."""


class _Renderer(Protocol):
    def render(self, catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> str: ...


def export(form: str, catalogue: Catalogue, remedies: Sequence[Remedy], block: str | None) -> str:
    """Return the remedies in a form of `EXPORTS`; `block` is nft unless it is given."""
    renderer = cast("_Renderer", import_module(EXPORTS[form]))
    return renderer.render(catalogue, remedies, block or "nft")


def steps(remedy: Remedy, block: str) -> tuple[Step, ...]:
    """Return the steps of a remedy that belong to a kind of block, or to none, and need no look at the host."""
    return tuple(
        step
        for step in remedy.steps
        if step.do not in _LOOKING
        and (not step.block or step.block == block or (step.block == "any" and block != "none"))
    )


def paths_of(remedy: Remedy, do: str) -> tuple[str, ...]:
    """Return the patterns of files that a kind of step goes through, where a variable has a line of its own."""
    found = [step.path for step in remedy.steps if step.do == do and step.form in ("pam", "shell", "envfile")]
    return tuple(
        f"{home}{path[1:]}" if path.startswith("~") else path
        for path in found
        for home in (("/root", "/home/*") if path.startswith("~") else ("",))
    )


def text_of(step: Step) -> str:
    """Return the text of a file with the usual paths of programs in it."""
    text = step.text
    for name, paths in PROGRAMS.items():
        text = text.replace(f"{{{name}}}", paths[0])
    return text


def told(remedies: Sequence[Remedy]) -> list[str]:
    """Return what is for a person's hands, as sentences."""
    return [f"{remedy.slug}: {text}" for remedy in remedies for text in remedy.by_hand]
