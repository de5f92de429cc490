"""The remedies as a POSIX shell script for Linux hosts: dash, bash and busybox run it, as often as they like.

Pure. Every text stands in a quoted here-document, so nothing of it is expanded.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from imdswatch.host import cloudinit, export
from imdswatch.host.catalogue import Catalogue, Remedy, Step

_END = "IMDSWATCH_END"
_HEAD = """\
#!/bin/sh
# {head}
# Run it as root; it may run again. It keeps no copy of what it changes: `imdswatch harden --apply` does.
set -eu

if [ "$(cat /sys/class/dmi/id/sys_vendor 2>/dev/null)" = '{ec2}' ] && [ "${1:-}" != --force ]; then
    echo 'this is an EC2 instance: its own tools need the metadata service (--force does it all the same)' >&2
    exit 2
fi
status=0

any() { # say whether one of the paths exists
    for path; do [ ! -e "$path" ] || return 0; done
    return 1
}

put() { # write standard input to the file $1 with mode $2, whole or not at all
    mkdir -p "$(dirname "$1")"
    cat > "$1.imdswatch-new"
    chmod "$2" "$1.imdswatch-new"
    mv "$1.imdswatch-new" "$1"
}

assign() { # set the variable $2 to $3 in the file $1
    [ -e "$1" ] || : > "$1"
    if grep -Eq "^[[:space:]]*(export )?$2=" "$1"; then
        correct "$@"
    else
        [ -z "$(tail -c 1 "$1")" ] || echo >> "$1"
        echo "$2=$3" >> "$1"
    fi
}

correct() { # where the file $1 sets the variable $2, make it $3
    if grep -Eq "^[[:space:]]*(export )?$2=" "$1"; then
        sed -E "s/^([[:space:]]*(export )?$2=).*/\\\\1$3/" "$1" > "$1.imdswatch-new"
        cmp -s "$1.imdswatch-new" "$1" || cat "$1.imdswatch-new" > "$1"
        rm -f "$1.imdswatch-new"
    fi
}

bypass() { # where the file $1 lists what goes around a proxy, add $2
    names='^([[:space:]]*(export )?(no_proxy|NO_PROXY)=)'
    list="[\\"']?([^\\"'#]*[^\\"'#[:space:]])[\\"']?[[:space:]]*\\$"
    if grep -Eq "$names" "$1" && ! grep -Fq "$2" "$1"; then
        sed -E "s/$names$list/\\\\1\\"\\\\4,$2\\"/" "$1" > "$1.imdswatch-new"
        cat "$1.imdswatch-new" > "$1"
        rm -f "$1.imdswatch-new"
    fi
}
"""
_JSON = """\
    if [ ! -e {path} ]; then
        put {path} 644 << '{end}'
{whole}
{end}
    elif command -v python3 > /dev/null; then
        python3 - {path} << '{end}'
import json, sys
with open(sys.argv[1], encoding="utf-8-sig") as file:
    settings = json.load(file)
inner = settings
for name in {parents!r}:
    inner = inner.setdefault(name, {{}})
if inner.get({name!r}) != {value!r}:
    inner[{name!r}] = {value!r}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=4)
        file.write("\\n")
{end}
    else
        echo {missing} >&2
        status=1
    fi
"""
_LIVE = {
    "nft": "{nft} -f /etc/imdswatch/block.nft",
    "routes": "{ip} route replace unreachable 169.254.169.254/32\n"
    "    test ! -e /proc/net/if_inet6 || {ip} -6 route replace unreachable fd00:ec2::254/128",
}


def render(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> str:
    """Return the script."""
    head = _HEAD.replace("{head}", export.HEAD).replace("{ec2}", export.EC2)
    return "\n".join([head, *_body(catalogue, remedies, block)])


def _body(catalogue: Catalogue, remedies: Sequence[Remedy], block: str) -> Iterator[str]:
    for remedy in remedies:
        yield f"# {remedy.slug}: {remedy.title}"
        for do in ("correct", "bypass"):
            yield from _edits(remedy, do)
        for step in export.steps(remedy, block):
            if step.do not in ("correct", "bypass"):
                yield from _step(catalogue, remedy, step)
        if block in _LIVE and any(step.block for step in remedy.steps):
            live = export.text_of(Step("whole", "", text=_LIVE[block]))
            yield "if [ -d /run/systemd/system ]; then"
            yield "    systemctl daemon-reload"
            yield "    systemctl restart imdswatch-block.service"
            yield f"elif {_holds(catalogue, ('systemd',))}; then"
            yield f"    {live}\nfi"
        yield ""
    yield from (f"# By hand: {text}" for text in export.told(remedies))
    yield 'exit "$status"\n'


def _edits(remedy: Remedy, do: str) -> Iterator[str]:
    paths = export.paths_of(remedy, do)
    if not paths:
        return
    yield "for file in \\"
    yield from (f"    {path} \\" for path in paths[:-1])
    yield f"    {paths[-1]}; do"
    yield '    if [ -f "$file" ] && [ ! -L "$file" ]; then'
    for name, value in remedy.variables.items():
        words = ("correct", '"$file"', name) if do == "correct" else ("bypass", '"$file"')
        yield f"        {' '.join((*words, shlex.quote(value)))}"
    yield "    fi\ndone"


def _step(catalogue: Catalogue, remedy: Remedy, step: Step) -> Iterator[str]:
    yield f"if {_holds(catalogue, step.where)}; then"
    if step.do == "assign":
        for name, value in remedy.variables.items():
            yield f"    assign {step.path} {name} {shlex.quote(value)}"
    elif step.do == "whole":
        yield f"    put {step.path} {step.mode:o} << '{_END}'"
        yield f"{export.text_of(step)}{_END}"
    elif step.do == "cloud":
        yield f"    put {step.path} {step.mode:o} << '{_END}'"
        yield f"{cloudinit.refusal(None)}{_END}"
    elif step.do == "link":
        yield f"    mkdir -p {step.path.rpartition('/')[0]}"
        yield f"    [ -e {step.path} ] || ln -s {step.text} {step.path}"
    elif step.do == "json":
        nested: object = list(step.value)
        for name in reversed(step.key):
            nested = {name: nested}
        yield _JSON.format(
            path=step.path,
            end=_END,
            whole=json.dumps(nested, indent=4),
            parents=step.key[:-1],
            name=step.key[-1],
            value=list(step.value),
            missing=shlex.quote(f"{step.path}: set {'.'.join(step.key)} to {json.dumps(step.value)} by hand"),
        ).rstrip("\n")
    yield "fi"


def _holds(catalogue: Catalogue, where: Sequence[str]) -> str:
    return " || ".join(f"any {' '.join(catalogue.signs[sign])}" for sign in where) or "true"
