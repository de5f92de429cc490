"""How `imdswatch harden` edits texts: each grammar held to who really reads it, and to what must not change.

Oracles: a real shell for shell files, our own reading of pam_env and systemd written down as cases, `json` for JSON.
Longer than most: four grammars, JSON and YAML, each with its table of cases.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from unittest import mock

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from host_roots import make, print_of
from imdswatch.cli.invoke import invoke
from imdswatch.errors import SchemaError
from imdswatch.host import assignments, cloudinit, jsonedit
from imdswatch.host import catalogue as catalogue_module
from imdswatch.host.catalogue import catalogue, parse
from imdswatch.host.export import EXPORTS, export

NAME = "AWS_EC2_METADATA_DISABLED"
WANTED = {NAME: "true"}
ADDRESSES = "169.254.169.254,fd00:ec2::254,[fd00:ec2::254]"


# Values


@pytest.mark.parametrize(
    ("form", "before", "after"),
    [
        ("pam", f"{NAME}=1\n", f"{NAME}=true\n"),
        ("pam", f"{NAME}=true \n", f"{NAME}=true\n"),
        ("pam", f"{NAME}=true\r\nA=b\r\n", f"{NAME}=true\nA=b\r\n"),
        ("pam", f'{NAME}="true"\n', f'{NAME}="true"\n'),
        ("pam", f"{NAME}='true\" \n", f"{NAME}=true\n"),
        ("pam", f"export {NAME}=TRUE # why\n", f"export {NAME}=true# why\n"),
        ("pam", f"#{NAME}=1\nX{NAME}=1\n{NAME}X=1", f"#{NAME}=1\nX{NAME}=1\n{NAME}X=1"),
        ("shell", f"export {NAME}=TRUE # why\n", f"export {NAME}=true # why\n"),
        ("shell", f"A=1; {NAME}='1' B=2\n", f"A=1; {NAME}=true B=2\n"),
        ("shell", f"{NAME}=tr'u'e\n", f"{NAME}=tr'u'e\n"),
        ("shell", f'{NAME}=" true"\n# {NAME}=0\n', f"{NAME}=true\n# {NAME}=0\n"),
        ("shell", f"{NAME}=tr\\\nue\n", f"{NAME}=true\n"),
        ("systemd", f"Environment={NAME}=1 A=b\n", f"Environment={NAME}=true A=b\n"),
        ("systemd", f'Environment="{NAME}=yes" "A=b c"\n', f'Environment={NAME}=true "A=b c"\n'),
        ("systemd", f'Environment=A=b \\\n  "{NAME}=0"\n', f"Environment=A=b \\\n  {NAME}=true\n"),
        ("systemd", f"#Environment={NAME}=1\n;x\n", f"#Environment={NAME}=1\n;x\n"),
        ("systemd", f" DefaultEnvironment = {NAME}=no\n", f" DefaultEnvironment = {NAME}=true\n"),
        ("systemd", f"ExecStart=/bin/x {NAME}=1\n", f"ExecStart=/bin/x {NAME}=1\n"),
    ],
)
def test_a_value_is_corrected_and_nothing_else(form: str, before: str, after: str) -> None:
    assert assignments.correct(before, form, WANTED) == (after, [])
    assert assignments.correct(after, form, WANTED) == (after, [])


@pytest.mark.parametrize("value", ["$X", "${X:-1}", "$(cat x)", "`cat x`", '"$X"'])
def test_what_a_shell_computes_is_told_not_changed(value: str) -> None:
    text = f"export {NAME}={value}\n"
    assert assignments.correct(text, "shell", WANTED) == (text, [NAME])


@pytest.mark.parametrize(
    ("form", "before", "after"),
    [
        ("shell", f"unset {NAME}\n", f"export {NAME}=true\n"),
        ("shell", f"  unset -v A {NAME} B; x\n", f"  unset -v A B; export {NAME}=true; x\n"),
        ("shell", f"test -z $X || export -n {NAME}\n", f"test -z $X || export {NAME}=true\n"),
        ("shell", f"if a; then unset '{NAME}'; fi\n", f"if a; then export {NAME}=true; fi\n"),
        ("shell", f"# unset {NAME}\nunset A; {NAME}=true\n", ""),
        ("shell", f"echo 'now unset {NAME} yourself'\ncat <<E\nunset {NAME}\nE\n", ""),
        ("shell", f"unset {NAME}_X\n", ""),
        ("csh", f"unsetenv {NAME}\n", f"setenv {NAME} true\n"),
        (
            "fish",
            f"set -e {NAME}\nset --erase A {NAME}\n",
            f"set -gx {NAME} true\nset --erase A; set -gx {NAME} true\n",
        ),
        ("systemd", f"UnsetEnvironment=A {NAME}\n", ""),
        ("pam", f"unset {NAME}\n", ""),
    ],
)
def test_what_takes_a_variable_away_sets_it_instead(form: str, before: str, after: str) -> None:
    assert assignments.given_back(before, form, WANTED) == (after or before)
    assert assignments.given_back(after, form, WANTED) == after
    if form == "shell" and after and "test" not in before:
        assert shell(f"{NAME}=1\na() {{ true; }}; x() {{ true; }}\n{after}", NAME) == {NAME: "true"}


@pytest.mark.parametrize(
    ("form", "before", "after"),
    [
        ("cron", f"{NAME} = '1' \n5 4 * * * {NAME}=1 x\n", f"{NAME} = true \n5 4 * * * {NAME}=1 x\n"),
        ("cron", f'#{NAME}=1\n"{NAME}"=$X\n', f'#{NAME}=1\n"{NAME}"=true\n'),
        ("csh", f"setenv {NAME} 1 # x\n#setenv {NAME} 1\n", f"setenv {NAME} true # x\n#setenv {NAME} 1\n"),
        ("fish", f"set -gx {NAME} yes; set -x -U {NAME} 1\n", f"set -gx {NAME} true; set -x -U {NAME} 1\n"),
        (
            "fish",
            f"set --export --global {NAME} '1'\nset -g {NAME} 1\n",
            f"set --export --global {NAME} true\nset -g {NAME} 1\n",
        ),
        ("pamconf", f'{NAME} DEFAULT=no OVERRIDE="1"\n', f"{NAME} DEFAULT=true OVERRIDE=true\n"),
        ("pamconf", f"{NAME}=1\n#{NAME} DEFAULT=1\n", f"{NAME}=true\n#{NAME} DEFAULT=1\n"),
    ],
)
def test_other_languages_are_corrected_too(form: str, before: str, after: str) -> None:
    assert assignments.correct(before, form, WANTED) == (after, [])
    assert assignments.correct(after, form, WANTED) == (after, [])


def test_a_crontab_gets_a_line_on_top_where_no_job_would_see_it_otherwise() -> None:
    assert assignments.lead("", WANTED) == ""
    assert assignments.lead("# no job\nA=b\n", WANTED) == "# no job\nA=b\n"
    assert assignments.lead("@daily x\n", WANTED) == f"{NAME}=true\n@daily x\n"
    late = f"1 2 3 4 5 root x\n{NAME}=true\n"
    assert assignments.lead(late, WANTED) == f"{NAME}=true\n{late}"
    assert assignments.lead(f"{NAME} = true\n* * * * * x", WANTED) == f"{NAME} = true\n* * * * * x"


def test_missing_variables_come_at_the_end() -> None:
    assert assignments.assign("A=b", "pam", WANTED) == f"A=b\n{NAME}=true\n"
    assert assignments.assign("", "pam", WANTED) == f"{NAME}=true\n"
    assert assignments.assign(f"{NAME}=true", "pam", WANTED) == f"{NAME}=true"


def shell(text: str, *names: str) -> dict[str, str]:
    """Return what a real shell exports after reading a file; nothing but `printenv` of its own is run."""
    lines = "\n".join(f'printf "%s\\0" "${{{name}-}}"' for name in names)
    done = subprocess.run(
        ["sh", "-uc", f"{text}\n{lines}"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    return dict(zip(names, done.stdout.decode().split("\0"), strict=False))


QUOTED = st.tuples(st.text("ab.*-[]~, ", min_size=1, max_size=8), st.sampled_from(["'", '"', ""])).map(
    lambda pair: pair[1] + (pair[0] if pair[1] else pair[0].replace(" ", "")) + pair[1]
)


@given(
    value=QUOTED,
    prefix=st.sampled_from(["", "export ", "A=1 ", "  "]),
    end=st.sampled_from(["", "\n", " # x\n"]),
)
def test_a_shell_sees_the_longer_list(value: str, prefix: str, end: str) -> None:
    text = f"{prefix}no_proxy={value}{end}"
    new, odd = assignments.bypass(text, "shell", ADDRESSES)
    if odd:
        assert new == text
        return
    before, after = shell(text, "no_proxy")["no_proxy"], shell(new, "no_proxy")["no_proxy"]
    if "*" in [part.strip() for part in before.split(",")]:
        assert new == text
    else:
        assert after.startswith(before)
        assert after.endswith(ADDRESSES)
    assert assignments.bypass(new, "shell", ADDRESSES) == (new, [])


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", f"localhost,{ADDRESSES}"),
        ("export no_proxy=a\n", f"a,{ADDRESSES}"),
        ("export NO_PROXY=B\n", f"B,{ADDRESSES}"),
        ("no_proxy='a' NO_PROXY=b; export no_proxy NO_PROXY", f"a,{ADDRESSES}"),
    ],
)
def test_a_new_list_in_a_shell_keeps_the_one_it_inherits(before: str, expected: str) -> None:
    added = assignments.add_bypass("export http_proxy=http://p:1", "shell", ADDRESSES)
    seen = shell(f"{before}\n{added}", "no_proxy", "NO_PROXY")
    assert (seen["no_proxy"], seen["NO_PROXY"]) == (expected, expected)
    assert assignments.bypass(added, "shell", ADDRESSES) == (added, [])


@pytest.mark.parametrize(
    ("form", "before", "after"),
    [
        ("pam", "no_proxy=a\n", f"no_proxy=a,{ADDRESSES}\n"),
        ("pam", 'no_proxy="a" \n', f'no_proxy="a,{ADDRESSES}"\n'),
        ("pam", "NO_PROXY=\n", f"NO_PROXY={ADDRESSES}\n"),
        ("pam", "no_proxy=a, *\n", "no_proxy=a, *\n"),
        ("pam", "no_proxy=169.254.169.254\n", "no_proxy=169.254.169.254,fd00:ec2::254,[fd00:ec2::254]\n"),
        ("systemd", "Environment=NO_PROXY=a,b A=c\n", f"Environment=NO_PROXY=a,b,{ADDRESSES} A=c\n"),
        ("systemd", 'Environment="NO_PROXY=a,b"\n', f'Environment="NO_PROXY=a,b,{ADDRESSES}"\n'),
        ("systemd", 'Environment=NO_PROXY="a b"\n', f'Environment=NO_PROXY="a b,{ADDRESSES}"\n'),
        ("shell", "export NO_PROXY=$no_proxy\n", "export NO_PROXY=$no_proxy\n"),
    ],
)
def test_the_addresses_go_around_the_proxy(form: str, before: str, after: str) -> None:
    assert assignments.bypass(before, form, ADDRESSES) == (after, [])


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("shell", "no_proxy=a\\ b\n"),
        ("shell", "no_proxy=(a b)\n"),
        ("shell", 'no_proxy=a"b"\n'),
        ("shell", 'no_proxy="open\n'),
        ("pam", "no_proxy=\"a'\n"),
    ],
)
def test_odd_quoting_is_left_alone_and_told(form: str, text: str) -> None:
    assert assignments.bypass(text, form, ADDRESSES) == (text, ["no_proxy"])


def test_a_proxy_of_a_service_gets_a_list_behind_it() -> None:
    text = '[Service]\nEnvironment="HTTP_PROXY=http://p:1" \\\n  "A=b"\nExecStart=x\n'
    assert assignments.add_bypass(text, "systemd", "A") == text.replace(
        '"A=b"\n', '"A=b"\nEnvironment=no_proxy=A NO_PROXY=A\n'
    )


@pytest.mark.parametrize("form", ["pam", "shell", "envfile", "systemd"])
@given(text=st.text("ANO_PROXY=no\"'\\$`#;|&() \n\r\t%[]{}éx\udcff\0", max_size=60))
def test_no_text_is_too_odd(form: str, text: str) -> None:
    for word in ("", f"no_proxy={text}\nhttp_proxy=x", f"Environment={NAME}={text}", f"{NAME}={text}"):
        whole = word or text
        new, computed = assignments.correct(whole, form, WANTED)
        assert assignments.correct(new, form, WANTED) == (new, computed), "once is enough"
        longer, odd = assignments.bypass(whole, form, ADDRESSES)
        assert assignments.bypass(longer, form, ADDRESSES) == (longer, odd), "once is enough"


@pytest.mark.parametrize("form", catalogue_module.FORMS)
@pytest.mark.parametrize(
    "piece",
    [
        "setenv A ",
        "set -gx ",
        "A DEFAULT=",
        f"unset {NAME} ",
        '"',
        "'",
        "\\",
        "A=",
        'A="',
        "Environment=",
        "no_proxy=$(",
        "A='\\\n",
        " ;A=(",
    ],
)
def test_a_long_file_takes_no_longer_than_it_is_long(form: str, piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        begun = time.process_time()
        assignments.correct(text, form, WANTED)
        assignments.bypass(text, form, ADDRESSES)
        assignments.given_back(f"unset {NAME}\n{text}", form, WANTED)
        return time.process_time() - begun

    assert seconds(400_000) < 8


# JSON

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text('aE"\\{}[],: \n', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("aAIdentity", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["Identity", "identity", "Profile", "Mds"]), VALUES, max_size=4)


@given(
    document=OBJECTS,
    indent=st.sampled_from([None, 0, 2, "\t"]),
    mark=st.booleans(),
    end=st.sampled_from(["", "\n"]),
)
def test_one_json_key_is_set(document: dict[str, object], indent: object, mark: bool, end: str) -> None:
    text = ("\ufeff" if mark else "") + json.dumps(document, indent=indent) + end  # type: ignore[arg-type]
    path, value = ("Identity", "ConsumptionOrder"), ["OnPrem"]
    new = jsonedit.with_value(text, path, value)
    assert jsonedit.value_of(new, path) == value
    found = json.loads(new.removeprefix("\ufeff"))
    named = [key for key in document if key.casefold() == "identity"]
    for key, old in document.items():
        if key not in named[-1:]:
            assert found[key] == old
    if named and isinstance(document[named[-1]], dict):
        kept = {key: old for key, old in document[named[-1]].items() if key.casefold() != "consumptionorder"}  # type: ignore[attr-defined]
        assert kept.items() <= found[named[-1]].items()
    assert new.startswith("\ufeff") == mark
    assert new.endswith("}" + end)
    assert jsonedit.with_value(new, path, value) == new


def test_json_keeps_every_other_byte() -> None:
    text = '{\r\n  "Profile" : { "A":1 },\r\n  "Identity":{"ConsumptionOrder" :[ "EC2" ] , "X":2}\r\n}'
    assert jsonedit.with_value(text, ("Identity", "ConsumptionOrder"), ["OnPrem"]) == text.replace(
        '[ "EC2" ]', '["OnPrem"]'
    )
    assert jsonedit.with_value("{}", ("A", "B"), 1) == '{\n    "A": {"B": 1}\n}'


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"a": 1} x', "null", "{'a': 1}", "[" * 100_000, '{"a":' * 5000]
)
def test_what_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the message is json's own
        jsonedit.with_value(text, ("A",), 1)


# cloud-init


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("users: [default]\n", None),
        ("datasource_list: [ NoCloud, Ec2, None ]\n", ("NoCloud", "Ec2", "None")),
        ("datasource_list:\n  - Ec2\n", ("Ec2",)),
        ("datasource_list: Ec2\n", ("Ec2",)),
        ("datasource_list: []\n", ()),
        ("", None),
        ("- a\n", None),
    ],
)
def test_the_list_of_cloud_init_is_read(text: str, listed: tuple[str, ...] | None) -> None:
    assert cloudinit.datasources(text) == listed


@pytest.mark.parametrize(
    "text", ["a: [", "datasource_list: [{a: b}]\n", "datasource_list: ['a b']\n", "[" * 5000]
)
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  several messages
        cloudinit.datasources(text)


def test_cloud_init_is_left_something() -> None:
    found = yaml.safe_load(cloudinit.refusal(["Ec2"]))
    assert found == {"datasource_list": ["None"], "datasource": {"Ec2": {"strict_id": True}}}
    assert yaml.safe_load(cloudinit.refusal(None)) == {"datasource": {"Ec2": {"strict_id": True}}}


# The data


def test_every_change_that_audit_names_is_made_or_left_to_a_person() -> None:
    known = catalogue()
    folder = Path(__file__).parents[1] / "src/imdswatch/data/host"
    named = set(yaml.safe_load((folder / "changes.yml").read_text(encoding="utf-8")))
    closed = [slug for remedy in known.remedies.values() for slug in remedy.closes]
    assert len(closed) == len(set(closed)), "one change, one remedy"
    assert set(closed) <= named


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("signs: {}\nremedies: {A: {title: a, why: b, source: c}}", "is no slug"),
        ("signs: {}\nremedies: {a: {title: a, why: b}}", "'source' is missing"),
        (
            "signs: {}\nremedies: {a: {title: a, why: b, source: c, files: [{do: fly, path: /x}]}}",
            "'do' is 'fly'",
        ),
        (
            "signs: {}\nremedies: {a: {title: a, why: b, source: c, files: "
            "[{do: whole, path: /x, where: [s], text: t}]}}",
            "there is no sign 's'",
        ),
        ("signs: {}\nremedies: {a: {title: a, why: b, source: c, more: d}}", "unknown key 'more'"),
    ],
)
def test_a_mistake_in_the_data_is_told(text: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        parse(text, "x.yml")


def test_the_text_of_no_file_ends_a_here_document() -> None:
    known = catalogue()
    script = export("shell", known, tuple(known.remedies.values()), None)
    assert script.count("<< 'IMDSWATCH_END'") == sum(line == "IMDSWATCH_END" for line in script.splitlines())
    assert set(EXPORTS) == {"ansible", "shell", "dockerfile", "windows-registry", "windows-gpo"}


# Any tree

SAID = (
    f"{NAME}=1", f"export {NAME}=true ", "http_proxy=http://p:1", "export no_proxy='a'", "NO_PROXY=$no_proxy",
    "[Service]", "Environment=HTTP_PROXY=x", '{"Identity": {}}', "datasource_list: [Ec2]", "#", "é\udcff", "\0", "",
)  # fmt: skip
FILES = st.tuples(st.lists(st.sampled_from(SAID), max_size=4), st.sampled_from(["\n", "\r\n"])).map(
    lambda pair: pair[1].join(pair[0]).encode("utf-8", "surrogateescape")
)
NAMES = (
    "/etc/environment", "/etc/profile", "/etc/profile.d/a.sh", "/etc/profile.d/imdswatch.sh", "/etc/default/x",
    "/etc/systemd/system.conf", "/etc/systemd/system/a.service", "/etc/systemd/system/a.service.d/b.conf",
    "/etc/systemd/system.conf.d/imdswatch.conf", "/etc/amazon/ssm/amazon-ssm-agent.json", "/etc/cloud/cloud.cfg",
    "/etc/cloud/cloud.cfg.d/90.cfg", "/etc/cloud/cloud.cfg.d/zz-imdswatch.cfg", "/etc/imdswatch/block.nft",
    "/root/.bashrc", "/home/joe/.profile", "/usr/lib/systemd/systemd", "/usr/sbin/nft", "/sbin/ip", "/sbin/openrc",
    "/etc/init.d/nftables", "/etc/pam.d/x", "/var/lib/imdswatch/theirs", "/var/x",
)  # fmt: skip
TREES = st.dictionaries(st.sampled_from(NAMES), FILES, max_size=10)


@given(
    files=TREES, modes=st.lists(st.sampled_from([0o600, 0o640, 0o444, 0o755, 0o4750]), min_size=1, max_size=3)
)
def test_apply_then_revert_is_the_identity_and_twice_is_once(
    files: dict[str, bytes], modes: list[int]
) -> None:
    # Nothing is cut off here, so nothing needs to be durable.
    with tempfile.TemporaryDirectory() as name, mock.patch.object(os, "fsync", return_value=None):
        root = make(Path(name) / "root", files)
        root.mkdir(exist_ok=True)
        for at, path in enumerate(files):
            (root / path.lstrip("/")).chmod(modes[at % len(modes)])
        before = print_of(root)

        def harden(*words: str) -> int:
            return invoke(["harden", "--root", str(root), *words, "-o", os.devnull])

        shown = harden()
        assert shown in (0, 1, 3)
        assert print_of(root) == before
        assert harden("--apply") == (0 if shown == 0 else 3 if shown == 3 else harden())
        after = print_of(root)
        assert harden("--apply") in (0, 3)
        assert print_of(root) == after
        assert harden("--revert") == 0
        assert print_of(root) == before
