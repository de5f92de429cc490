"""The remedies as an Ansible task file for Linux hosts (`include_tasks`, or the `tasks` of a play with `become`).

Pure. Only modules of ansible.builtin are used. What a step's signs ask for is looked up on the host first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from imdswatch.host import cloudinit, export
from imdswatch.host.catalogue import Catalogue, Remedy, Step

Task = Mapping[str, Any]
_FOUND = "imdswatch_signs"
_SSM = "imdswatch_json"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def render(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> str:
    """Return the task file."""
    tasks = [*_first(catalogue, remedies, block)]
    for remedy in remedies:
        for do in ("correct", "bypass"):
            tasks += _edits(remedy, do)
        for step in export.steps(remedy, block):
            tasks += [_when(task, step) for task in _step(remedy, step)]
    body = yaml.dump(tasks, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    hands = "".join(f"# By hand: {text}\n" for text in export.told(remedies))
    return f"---\n# {export.HEAD}\n# Set imdswatch_force to run it on an EC2 instance all the same.\n{body}{hands}"


def _first(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> Iterator[Task]:
    yield {
        "name": "Stop on EC2, whose own tools need the metadata service",
        "ansible.builtin.assert": {
            "that": "imdswatch_force | default(false) | bool"
            f" or ansible_facts['system_vendor'] | default('') != '{export.EC2}'"
        },
    }
    signs = {sign for remedy in remedies for step in export.steps(remedy, block) for sign in step.where}
    for sign, paths in catalogue.signs.items():
        if sign in signs:
            yield {
                "name": f"See whether this host has {sign}",
                "ansible.builtin.stat": {"path": "{{ item }}"},
                "loop": list(paths),
                "register": _register(sign),
            }


def _when(task: Task, step: Step) -> Task:
    if not step.where:
        return task
    holds = [
        f"({_register(sign)}.results | selectattr('stat.exists') | list | length > 0)" for sign in step.where
    ]
    return {**task, "when": " or ".join(holds)}


def _register(sign: str) -> str:
    return f"{_FOUND}_{sign.replace('-', '_')}"


def _step(remedy: Remedy, step: Step) -> Iterator[Task]:
    name = f"{remedy.slug}: {step.path}"
    if step.do == "assign":
        for variable, value in remedy.variables.items():
            yield {
                "name": f"{name}, {variable}",
                "ansible.builtin.lineinfile": {
                    "path": step.path,
                    "regexp": rf"^\s*(export\s+)?{variable}=",
                    "line": f"{variable}={value}",
                    "create": True,
                    "mode": f"0{step.mode:o}",
                },
            }
    elif step.do in ("whole", "cloud"):
        folder = step.path.rpartition("/")[0]
        yield {
            "name": f"{name}, its folder",
            "ansible.builtin.file": {"path": folder, "state": "directory", "mode": "0755"},
        }
        content = export.text_of(step) if step.do == "whole" else cloudinit.refusal(None)
        yield {
            "name": name,
            "ansible.builtin.copy": {
                "dest": step.path,
                "content": content,
                "mode": f"0{step.mode:o}",
            },
        }
    elif step.do == "link":
        yield from _service(name, step)
    elif step.do == "json":
        yield from _json(name, step)


def _service(name: str, step: Step) -> Iterator[Task]:
    service = step.text.rpartition("/")[2]
    if step.where == ("systemd",):
        arguments = {"name": service, "enabled": True, "state": "started", "daemon_reload": True}
        yield {"name": name, "ansible.builtin.systemd": arguments}
    else:
        yield {
            "name": name,
            "ansible.builtin.service": {"name": service, "enabled": True, "state": "started"},
        }


def _json(name: str, step: Step) -> Iterator[Task]:
    yield {
        "name": f"{name}, as it is",
        "ansible.builtin.slurp": {"src": step.path},
        "register": _SSM,
        "failed_when": False,
    }
    nested: object = list(step.value)
    for key in reversed(step.key):
        nested = {key: nested}
    now = f"({_SSM}.content | default('e30=') | b64decode | from_json)"
    yield {
        "name": name,
        "ansible.builtin.copy": {
            "dest": step.path,
            "content": f"{{{{ {now} | combine({nested}, recursive=True) | to_nice_json }}}}\n",
            "mode": f"0{step.mode:o}",
        },
    }


def _edits(remedy: Remedy, do: str) -> Iterator[Task]:
    paths = export.paths_of(remedy, do)
    if not paths:
        return
    register = f"imdswatch_files_{remedy.slug.replace('-', '_')}"
    folders: dict[tuple[str, bool], list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        folders.setdefault((folder.partition("/*")[0], "*" in folder), []).append(name)
    yield {
        "name": f"{remedy.slug}: which files there are",
        "ansible.builtin.find": {
            "paths": ["{{ item.path }}"],
            "patterns": "{{ item.patterns }}",
            "recurse": "{{ item.recurse }}",
            "depth": 2,
            "hidden": True,
        },
        "loop": [
            {"path": folder, "patterns": names, "recurse": deep} for (folder, deep), names in folders.items()
        ],
        "register": register,
    }
    for name, regexp, new in _replacements(remedy, do):
        yield {
            "name": f"{remedy.slug}: {name}",
            "ansible.builtin.replace": {"path": "{{ item.path }}", "regexp": regexp, "replace": new},
            "loop": f"{{{{ {register}.results | map(attribute='files') | flatten }}}}",
            "loop_control": {"label": "{{ item.path }}"},
        }


def _replacements(remedy: Remedy, do: str) -> Iterator[tuple[str, str, str]]:
    names = r"(?m)^(\s*(?:export\s+)?{}=)"
    for name, value in remedy.variables.items():
        if do == "correct":
            yield name, names.format(name) + rf"(?!{value}$).*$", rf"\g<1>{value}"
        else:
            listed = rf"""(?!.*{re.escape(value)})["']?([^"'#\n]*[^"'#\s])["']?[ \t]*$"""
            yield name, names.format("(?:no_proxy|NO_PROXY)") + listed, rf'\g<1>"\g<2>,{value}"'
