"""An invalid rule is refused with the line that is wrong, wherever else in the file the same words stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imdswatch.cli import invoke

HEAD = """\
title: A rule about author, foo|bar, %mine% and utf16, condition and status
# foo: a comment that names foo|contains: and %mine%, |base64offset, |utf16 and condition: x
id: 3b6f9f57-2d0c-4bb9-8a3c-0a4f1f6d2a11
status: test
description: |
    foo: what it says about foo|contains, sel: and 1 of them, |expand and %mine%,
    author: of |base64offset and |windash
author: somebody
date: 2026-11-22
level: low
logsource:
    category: network
"""
WRONG = {
    "an unknown field": """
detection:
    sel:
        foo: 1  #!
    condition: sel
""",
    "an unknown field with a modifier": """
detection:
    first:
        url|contains: foo
    sel:
        foo|contains: x  #!
    condition: first or sel
""",
    "a field named like a key of the rule": """
detection:
    sel:
        author: x  #!
    condition: sel
""",
    "an unknown field in a list of mappings": """
detection:
    sel:
        - url: foo
        - foo: 1  #!
    condition: sel
""",
    "a modifier that does not exist": """
detection:
    first:
        url|contains: x
    sel:
        url|shout: x  #!
    condition: sel
""",
    "a modifier that needs another type": """
detection:
    sel:
        url|cidr: 10.0.0.0/8x  #!
    condition: sel
""",
    "a condition that names no detection": """
detection:
    sel:
        url: x
    condition: sel and other  #!
""",
    "a pattern in the condition that fits nothing": """
detection:
    sel:
        url: x
    condition: sel or 1 of none_*  #!
""",
    "a condition that cannot be parsed": """
detection:
    sel:
        url: x
    condition: sel and and  #!
""",
    "a placeholder that nothing fills": """
detection:
    sel:
        account_id|expand: '%mine%'  #!
    condition: sel
""",
    "a regular expression that is none": """
detection:
    first:
        url: '('
    sel:
        url|re: '('  #!
    condition: first or sel
""",
    "no condition": """
detection:  #!
    sel:
        url: x
""",
    "a stage that does not exist": """
detection:
    sel:
        url: 'stage: x'
    condition: sel
stage: conquered  #!
""",
    "a level that does not exist": """
detection:
    level:
        url: x
    condition: level
level: dire  #!
""",
    "tags that are no list": """
detection:
    sel:
        url: x
    condition: sel
tags: attack.t1557  #!
""",
    "yaml that cannot be read": """
detection:
    sel:
        url: x
     condition: sel  #!
""",
    "a key that stands twice": """
detection:
    sel:
        url: x
    condition: sel
    sel:  #!
        url: y
""",
}


@pytest.mark.parametrize("name", WRONG)
def test_the_error_names_the_file_and_the_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = HEAD.replace("level: low\n", "") if "level" in name else HEAD
    text = head + WRONG[name].lstrip("\n")
    [line] = [number for number, one in enumerate(text.split("\n"), 1) if one.endswith("  #!")]
    path = tmp_path / "mine.yml"
    path.write_text(text.replace("  #!", ""), encoding="utf-8")
    for words in (["rules", "--rules", str(tmp_path)], ["scan", str(path), "--rules", str(tmp_path)]):
        assert invoke(words) == 2
        said = capsys.readouterr().err
        assert re.findall(r"--> (.*)", said) == [f"{path}:{line}"], said


def test_of_several_documents_the_right_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rule is well, and the correlation below it is not; and the other way round."""
    rule = HEAD + "name: mine\ndetection:\n    sel:\n        url: x\n    condition: sel\n"
    second = """\
---
title: Afterwards
id: 3b6f9f57-2d0c-4bb9-8a3c-0a4f1f6d2a12
status: test
correlation:
    type: temporal_ordered
    rules: [imds_credentials_served, mine]
    group-by: [foo]
    timespan: 6h
"""
    path = tmp_path / "mine.yml"
    path.write_text(rule + second, encoding="utf-8")
    assert invoke(["rules", "--rules", str(tmp_path)]) == 2
    line = (rule + second).split("\n").index("    group-by: [foo]") + 1
    assert f"--> {path}:{line}\n" in capsys.readouterr().err
    path.write_text(
        rule.replace("        url: x", "        foo: x") + second.replace("foo", "src_ip"), encoding="utf-8"
    )
    assert invoke(["rules", "--rules", str(tmp_path)]) == 2
    assert f"--> {path}:{rule.count(chr(10)) - 1}\n" in capsys.readouterr().err
