"""What a host lacks, as edits of whole files: the remedies of `data/host/hardening.yml` applied to what stands there.

`plan` reads a tree and changes nothing. A host that lacks nothing gets no edits, so applying twice changes nothing. The
remedies work on the same draft one after the other: where two meet in a file, there is one edit. Never raises for what
stands in the tree: what cannot be read or understood is a `Skipped`, what a person must decide a `Note`. Longer than
most, because each kind of step has its method here, beside the drafts that all of them share; what a step writes is
decided elsewhere (`assignments`, `jsonedit`, `cloudinit`, `dropins`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from imdswatch.edit import Edit, Note
from imdswatch.errors import UsageError
from imdswatch.finding import Skipped
from imdswatch.host import assignments, cloudinit, contexts, dropins, jobs, jsonedit, sessions, sudo
from imdswatch.host.catalogue import Catalogue, Remedy, Step
from imdswatch.host.overlay import over
from imdswatch.host.tree import LIMIT, Kind, Tree

PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "nft": ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"),
    "ip": ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"),
}
"""Where distributions keep what makes the block."""
BLOCK = "block-endpoint"
"""The remedy whose edits hold together."""
_PLAIN = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)*")
"""A home as it should be: whoever writes `..` into /etc/passwd gets no edits there."""
_NEEDS = {"nft": "nft", "routes": "ip"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done: edits in the order of making, and what is to be told beside them."""

    edits: tuple[Edit, ...]
    notes: tuple[Note, ...]
    skipped: tuple[Skipped, ...]
    block: str
    """The kind of network block, "" for none; `programs` has the path of the program that makes it."""
    programs: Mapping[str, str]
    looked: int
    """Files that were looked at."""


@dataclass(slots=True)
class _Draft:
    """Files as they would be; `before` is None for what is not there yet."""

    slugs: list[str] = field(default_factory=list)
    before: bytes | None = None
    after: bytes | None = None
    link: bool = False
    mode: int = 0o644


def plan(tree: Tree, catalogue: Catalogue, remedies: tuple[Remedy, ...], block: str | None = None) -> Plan:
    """Return what these remedies would do below this root; `block` None chooses what the host has."""
    return _Planner(tree, catalogue, block).planned(remedies)


class _Planner:
    """One planning; holds the drafts."""

    def __init__(self, tree: Tree, catalogue: Catalogue, block: str | None) -> None:
        self._tree, self._catalogue = tree, catalogue
        self._drafts: dict[str, _Draft] = {}
        self._notes: list[Note] = []
        self._looked: set[str] = set()
        self._programs = {
            name: found
            for name, paths in PROGRAMS.items()
            if (found := next((path for path in paths if tree.is_file(path)), None))
        }
        self._asked, self._block = block, ""
        self._proxied: bool | None = None
        self._bypassed: bool | None = None
        self._every_home: tuple[str, ...] | None = None
        self._do: Mapping[str, Callable[[Remedy, Step], None]] = {
            "correct": self._correct,
            "assign": self._assign,
            "whole": self._whole,
            "json": self._json,
            "cloud": self._cloud,
            "bypass": self._bypass,
            "link": self._link,
            "units": self._units,
            "cron": self._cron,
            "sudo": self._sudo,
            "logins": self._logins,
        }

    def planned(self, remedies: tuple[Remedy, ...]) -> Plan:
        for remedy in remedies:
            steps = remedy.steps
            if any(step.block for step in steps):
                self._block = self._chosen_block(remedy)
                steps = tuple(step for step in steps if step.block in (self._block, "any") and self._block)
            for step in steps:
                if not step.where or any(map(self._holds, step.where)):
                    self._do[step.do](remedy, step)
        changed = {slug for one in self._drafts.values() if one.after != one.before for slug in one.slugs}
        for remedy in remedies:
            for text in remedy.by_hand if remedy.slug in changed else ():
                self._note(remedy, text)
        return Plan(
            self._edits(),
            tuple(self._notes),
            tuple(self._tree.skipped),
            self._block,
            self._programs,
            len(self._looked),
        )

    def _edits(self) -> tuple[Edit, ...]:
        return tuple(
            Edit(tuple(one.slugs), path, one.before, one.after, one.link, one.mode)
            for path, one in self._drafts.items()
            if one.after is not None and one.after != one.before
        )

    def _holds(self, sign: str) -> bool:
        return any(self._tree.resolve(path) is not None for path in self._catalogue.signs[sign])

    def _chosen_block(self, remedy: Remedy) -> str:
        if self._asked == "none":
            return ""
        if self._asked:
            if _NEEDS[self._asked] not in self._programs:
                raise UsageError(
                    f"`--block {self._asked}` needs the program `{_NEEDS[self._asked]}`, which this root lacks"
                )
            return self._asked
        if not self._holds("systemd") and not self._holds("openrc"):
            self._note(
                remedy, "neither systemd nor OpenRC starts here, so a block would not last: block it outside"
            )
            return ""
        for kind, program in _NEEDS.items():
            openrc = kind == "nft" and not self._holds("systemd")
            if program in self._programs and not (openrc and not self._tree.is_file("/etc/init.d/nftables")):
                return kind
        self._note(remedy, "there is neither `nft` nor `ip` here: install nftables, or block it outside")
        return ""

    # What a step does

    def _correct(self, remedy: Remedy, step: Step) -> None:
        for path, text in self._texts(step):
            new, computed = assignments.correct(text, step.form, remedy.variables)
            for name in computed:
                self._note(remedy, f"{path} computes {name}; see that it comes to {remedy.variables[name]!r}")
            self._change(remedy, step, path, assignments.given_back(new, step.form, remedy.variables))

    def _assign(self, remedy: Remedy, step: Step) -> None:
        text = self._text(step.path)
        if text is not None or not self._stands(step.path):
            new = assignments.assign(text or "", step.form, remedy.variables)
            self._change(remedy, step, step.path, new)

    def _units(self, remedy: Remedy, step: Step) -> None:
        for one in dropins.wanted(over(self._tree, self._edits()), self._homes(), remedy.variables):
            now = self._text(one.path)
            if one.text and (now is not None or not self._stands(one.path)):
                self._change(remedy, step, one.path, one.text)
            elif now is not None:
                self._change(remedy, step, one.path, assignments.correct(now, "envfile", remedy.variables)[0])

    def _cron(self, remedy: Remedy, step: Step) -> None:
        by_pam = sessions.pam_reads(self._tree, jobs.SERVICES)
        for path, text in self._texts(step):
            new, _ = assignments.correct(text, "cron", remedy.variables)
            self._change(remedy, step, path, new if by_pam else assignments.lead(new, remedy.variables))

    def _sudo(self, remedy: Remedy, step: Step) -> None:
        rules = sudo.sudoers(self._tree)
        reads = rules is not None and rules.drop_ins == step.path.rpartition("/")[0]
        if reads and not sessions.pam_reads(self._tree, ("sudo",)):
            self._whole(remedy, step)

    def _logins(self, remedy: Remedy, step: Step) -> None:
        if sessions.pam_reads(self._tree, contexts.SESSIONS):
            return
        there = over(self._tree, self._edits())
        given = sessions.pam_environment(there, contexts.SESSIONS)
        for user in sessions.people(self._tree, sessions.users(self._tree)):
            gets = sessions.session(there, user, given).environment
            lacking = {name: value for name, value in remedy.variables.items() if name not in gets}
            home = user.home.rstrip("/")
            if not lacking or home not in self._homes() or not self._tree.is_folder(home):
                continue
            path, form = sessions.own_file(there, user)
            text = self._text(path)
            if text is not None or not self._stands(path):
                self._change(remedy, step, path, assignments.export(text or "", form, lacking))

    def _whole(self, remedy: Remedy, step: Step) -> None:
        text = step.text
        for name, path in self._programs.items():
            text = text.replace(f"{{{name}}}", path)
        if self._text(step.path) is not None or not self._stands(step.path):
            self._change(remedy, step, step.path, text)

    def _json(self, remedy: Remedy, step: Step) -> None:
        text = self._text(step.path)
        if text is None:
            if not self._stands(step.path):
                text = jsonedit.with_value("{}\n", step.key, list(step.value))
                self._change(remedy, step, step.path, text)
            return
        try:
            now = jsonedit.value_of(text, step.key)
            if isinstance(now, list) and now and not any(str(one).casefold() == "ec2" for one in now):
                return
            self._change(remedy, step, step.path, jsonedit.with_value(text, step.key, list(step.value)))
        except ValueError as error:
            self._tree.skip(step.path, f"cannot be edited: {error}")

    def _cloud(self, remedy: Remedy, step: Step) -> None:
        if self._tree.resolve("/etc/cloud/cloud-init.disabled") is not None:
            return
        files = ["/etc/cloud/cloud.cfg", *self._expanded("/etc/cloud/cloud.cfg.d/*.cfg")]
        listed: tuple[str, ...] | None = None
        for path in files:
            text = self._text(path) if path != step.path else None
            if text is None:
                continue
            try:
                found = cloudinit.datasources(text)
            except ValueError as error:
                self._tree.skip(path, f"cannot be understood: {error}")
                continue
            listed = listed if found is None else found
            if found is not None and path > step.path and "Ec2" in found:
                self._note(remedy, f"{path} is read after our file and lists Ec2: take it out there")
        if listed is None or "Ec2" in listed:
            self._change(remedy, step, step.path, cloudinit.refusal(listed))

    def _bypass(self, remedy: Remedy, step: Step) -> None:
        addresses = remedy.variables["no_proxy"]
        for path, text in self._texts(step):
            proxy = assignments.sets_proxy(text, step.form)
            if not proxy and not self._any_proxy(remedy):
                continue
            new, odd = assignments.bypass(text, step.form, addresses)
            for name in odd:
                self._note(
                    remedy, f"{path} quotes {name} in a way that is left alone: add {addresses} by hand"
                )
            if proxy and not assignments.sets_bypass(text, step.form):
                if step.form in ("systemd", "envfile") and self._any_bypass(remedy):
                    self._note(
                        remedy,
                        f"{path} sets a proxy, and other files what goes around it: add {addresses} by hand",
                    )
                else:
                    new = assignments.add_bypass(new, step.form, addresses)
            self._change(remedy, step, path, new)

    def _any_proxy(self, remedy: Remedy) -> bool:
        if self._proxied is None:  # asked for each of many files
            self._proxied = any(
                assignments.sets_proxy(text, step.form)
                for step in remedy.steps
                for _, text in self._texts(step)
            )
        return self._proxied

    def _any_bypass(self, remedy: Remedy) -> bool:
        """Say whether a service already has a list of its own that a second one would take the place of."""
        if self._bypassed is None:
            self._bypassed = any(
                one.before is not None and assignments.sets_bypass(_decoded(one.before), step.form)
                for step in remedy.steps
                if step.form in ("systemd", "envfile")
                for path, _ in self._texts(step)
                if (one := self._drafts[real(self._tree, path)])
            )
        return self._bypassed

    def _link(self, remedy: Remedy, step: Step) -> None:
        path, target = real(self._tree, step.path), real(self._tree, step.text)
        there = self._tree.resolve(step.path)
        if there is not None and there == self._tree.resolve(step.text):
            return
        if self._tree.resolve(step.text) is None and target not in self._drafts:
            self._note(remedy, f"{step.text} is missing, so the block does not begin at boot")
            return
        self._drafts[path] = _Draft([remedy.slug], None, step.text.encode(), True)

    # The drafts

    def _texts(self, step: Step) -> Iterator[tuple[str, str]]:
        for path in self._expanded(step.path):
            # Folders as /etc/default/grub.d, and units that are masked, are not what the pattern is for.
            many = "*" in step.path or "~" in step.path
            if many and (self._tree.is_folder(path) or self._tree.resolve(path) == "/dev/null"):
                continue
            text = self._text(path)
            if text is not None:
                yield path, text

    def _expanded(self, pattern: str) -> Iterator[str]:
        """Yield the paths that a pattern names, in order."""
        if pattern.startswith("~"):
            for home in self._homes():
                yield from self._expanded(f"{home}{pattern[1:]}")
            return
        if "*" not in pattern:
            yield pattern
            return
        head, _, rest = pattern.partition("/*")
        piece, _, tail = rest.partition("/")
        wanted = re.compile(f".*{re.escape(piece)}", re.DOTALL)
        for name in self._tree.listdir(head):
            if wanted.fullmatch(name) and not name.startswith("."):
                yield from self._expanded("/".join(filter(None, (f"{head}/{name}", tail))))

    def _homes(self) -> tuple[str, ...]:
        """Return the homes of all who may run a client, wherever they lie, and those that look like one."""
        if self._every_home is None:
            known = sessions.people(self._tree, sessions.users(self._tree))
            usual = ["/root", *(f"/home/{name}" for name in self._tree.listdir("/home"))]
            homes = dict.fromkeys([*usual, *(user.home.rstrip("/") for user in known)])
            self._every_home = tuple(home for home in homes if _PLAIN.fullmatch(home))
        return self._every_home

    def _text(self, path: str) -> str | None:
        """Return a file as it would be, None where there is none that can be edited."""
        place = real(self._tree, path)
        draft = self._drafts.get(place)
        if draft is None:
            meta = self._tree.meta(path)
            data = None
            if meta is not None and meta.size > LIMIT:
                self._tree.skip(path, f"is longer than {LIMIT} bytes, and is not edited")
            elif meta is not None and meta.kind is Kind.FOLDER:
                self._tree.skip(path, "is a folder, where a file belongs")
            else:
                data = self._tree.read_bytes(path)
            draft = self._drafts[place] = _Draft(before=data, after=data)
            self._looked.add(place)
        return None if draft.after is None else _decoded(draft.after)

    def _stands(self, path: str) -> bool:
        return self._tree.resolve(path) is not None

    def _change(self, remedy: Remedy, step: Step, path: str, text: str) -> None:
        self._text(path)
        draft = self._drafts[real(self._tree, path)]
        after = text.encode("utf-8", "surrogateescape")
        if after != draft.after:
            draft.after, draft.mode = after, step.mode
            if remedy.slug not in draft.slugs:
                draft.slugs.append(remedy.slug)

    def _note(self, remedy: Remedy, text: str) -> None:
        note = Note(remedy.slug, text)
        if note not in self._notes:
            self._notes.append(note)


def real(tree: Tree, path: str) -> str:
    """Return a path with the links among its folders resolved; the last name stays as it is, and need not exist."""
    parent, _, name = path.rpartition("/")
    if not parent:
        return path
    found = tree.resolve(parent)
    return f"{(real(tree, parent) if found is None else found).rstrip('/')}/{name}"


def without(plan: Plan, paths: Mapping[str, str]) -> Plan:
    """Return the plan without the edits of these paths, each of them skipped for its reason.

    The network block is made whole or not at all: rules that no service loads help nobody.
    """
    skipped = [Skipped(path, "", reason) for path, reason in paths.items()]
    broken = next((edit.path for edit in plan.edits if edit.path in paths and BLOCK in edit.slugs), "")
    if broken and plan.block:
        skipped.append(Skipped("the network block", "", f"cannot be made while {broken} is in the way"))
    kept = [edit for edit in plan.edits if edit.path not in paths and not (broken and edit.slugs == (BLOCK,))]
    return replace(
        plan, edits=tuple(kept), skipped=(*plan.skipped, *skipped), block="" if broken else plan.block
    )


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
