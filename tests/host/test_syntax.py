"""What each reader makes of a line decides whether an SDK sees `true`; expectations are the readers' own."""

from __future__ import annotations

import pytest

from imdswatch.host import shell, syntax

# What `su` of Debian 12 (Linux-PAM 1.5.2) gave to `env` with this text bound over /etc/environment.
PAM = """\
A1=true\x20
A2="true"
A3='true'\x20
export A4=true
A5=true # comment
A6="true
A7 = true
A8=tr"ue
A9=true#x
 A10=true
A11=a\\
b
A12="a b" c
A13=$HOME
A-14=x
A15=true\r
A16=true"""
PAM_SAID = {
    "A1": "true ",
    "A2": "true",
    "A3": "true' ",
    "A4": "true",
    "A5": "true ",
    "A6": "true",
    "A8": 'tr"ue',
    "A9": "true",
    "A10": "true",
    "A11": "ab",
    "A12": 'a b" c',
    "A13": "$HOME",
    "A15": "true\r",
    "A16": "true",
}


def test_etc_environment_is_read_as_pam_env_reads_it() -> None:
    found = {setting.name: setting.value for setting in syntax.pam_environment(PAM, "/etc/environment")}
    assert found == PAM_SAID


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    lines = {setting.name: setting.line for setting in syntax.pam_environment(PAM, "")}
    assert (lines["A1"], lines["A11"], lines["A12"]) == (1, 11, 13)


def test_pam_env_conf_has_defaults_and_overrides() -> None:
    text = '# A DEFAULT=no\nA DEFAULT=true\nB DEFAULT="x y" OVERRIDE=true\nC DEFAULT=@{HOME}/x\nD\n'
    found = {setting.name: setting.value for setting in syntax.pam_env_conf(text, "")}
    assert found == {"A": "true", "B": "true", "C": None}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("A=1 B=2", ["A=1", "B=2"]),
        ('"A=true " B=2', ["A=true ", "B=2"]),
        ("'A=a b'", ["A=a b"]),
        (r"A=a\ b", ["A=a b"]),
        ('A="b"', ['A="b"']),  # quotes only at the beginning of a word
        ('""', [""]),
        ("", []),
    ],
)
def test_systemd_words(given: str, words: list[str]) -> None:
    assert syntax.systemd_words(given) == words


def test_an_environment_file_of_systemd_loses_blanks_and_quotes() -> None:
    text = "# x\nA=true  \nB='true '\n; no\nC = \"true\"\nexport D=1\n"
    found = {setting.name: setting.value for setting in syntax.systemd_file(text, "")}
    assert found == {"A": "true", "B": "true ", "C": "true"}


def test_docker_keeps_quotes_and_compose_does_not() -> None:
    text = 'A="true"\nB=true # x\n#C=1\n'
    assert {s.name: s.value for s in syntax.env_file(text, "")} == {"A": '"true"', "B": "true # x"}
    assert {s.name: s.value for s in syntax.dotenv(text, "")} == {"A": "true", "B": "true"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=true", "true"),
        ("A = true ", "true"),
        ('A="true "', "true "),
        ("'A'='b'", "b"),
        ("* * * * * a=b", None),
    ],
)
def test_cron(line: str, value: str | None) -> None:
    found = syntax.cron_line(line, "", 1)
    assert (found.value if found else None) == value


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("export A=true", [("A", "true", True)]),
        ("A=true\nexport A", [("A", "true", True)]),
        ("A=true", []),  # never exported
        ("export A\nA=true", [("A", "true", True)]),
        ("export A='true ' B=\"x y\"", [("A", "true ", True), ("B", "x y", True)]),
        ("export A=$B", [("A", None, True)]),
        ('export A="x$(date)"', [("A", None, True)]),
        ("export A='$B'", [("A", "$B", True)]),
        ("if [ -n x ]; then\n export A=1\nfi\nexport B=2", [("A", "1", False), ("B", "2", True)]),
        ("case $- in\n *i*) ;;\n *) return;;\nesac\nexport A=1", [("A", "1", True)]),
        ("f() {\n export A=1\n}\nexport B=2", [("A", "1", False), ("B", "2", True)]),
        ("f() { export A=1; }\nexport B=2", [("A", "1", False), ("B", "2", True)]),
        ("# export A=1\nexport B=2 # C=3", [("B", "2", True)]),
        ("export A=1; unset A", [("A", "1", True), ("A", "", True)]),
        ("declare -x A=1\ntypeset B=2", [("A", "1", True)]),
        ("export -n A=1", []),
        ("setenv A true", [("A", "true", True)]),
        ("set -gx A true", [("A", "true", True)]),
        ("cat <<EOF\nexport A=1\nEOF\nexport B=2", [("B", "2", True)]),
        ("export A=tr\\\nue", [("A", "true", True)]),
        ("A=1 aws s3 ls", []),  # for one command only
        ("echo 'export A=1'", []),
        ("export A='unfinished", [("A", "'unfinished", True)]),
    ],
)
def test_shells(text: str, found: list[tuple[str, str | None, bool]]) -> None:
    effects = shell.effects(text, "")
    assert [(one.setting.name, one.setting.value, one.sure) for one in effects] == found


def test_a_shell_that_was_given_a_variable_changes_it_without_export() -> None:
    (effect,) = shell.effects("\n\nA=false\n", "", {"A"})
    assert (effect.setting.value, effect.setting.line) == ("false", 3)


@pytest.mark.parametrize(
    "text", ['"' * 50_000, "'\\" * 50_000, '\\"' * 50_000, "<<E\n" * 50_000, "$(" * 50_000]
)
def test_hostile_files_cost_no_more_than_their_length(text: str) -> None:
    list(shell.effects(text, ""))
    list(syntax.pam_environment(text, ""))
    list(syntax.unit_lines(text))
    syntax.systemd_words(text)
