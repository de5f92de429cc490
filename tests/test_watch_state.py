"""What a watch remembers: whole or not at all, without secrets, bounded, and readable with other rules."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from imdswatch.errors import UsageError
from imdswatch.event import complete
from imdswatch.rule import Rule, load_rules
from imdswatch.scan.aggregate import Incident, Incidents, Key
from imdswatch.scan.findings import FindingMaker
from imdswatch.scan.judging import FirstLook, Window
from imdswatch.site import Site
from imdswatch.watch.state import Row, State, StateTrouble, read_status
from imdswatch.watch.stored import freeze, freeze_key, thaw, thaw_key

SECRET = "FAKEsecretFAKEsecretFAKEsecretFAKEsecret"


@cache
def rules() -> tuple[Rule, ...]:
    return tuple(load_rules())


def incident(**fields: Any) -> tuple[Key, Incident]:
    incidents = Incidents()
    look = FirstLook(rules(), Site(), Window())
    for status in (200, 403):
        event = {
            "src_ip": "10.0.0.1", "dst_ip": "169.254.169.254", "method": "GET", "status": status, "vlan": [7, 8],
            "uri_path": "/latest/meta-data/iam/security-credentials/FAKE", "timestamp": 1.7e9 + status, **fields,
        }  # fmt: skip
        look.take(incidents, complete(event), "x.log", "line", status)
    ((key, found),) = incidents.items()
    return key, found


def test_an_incident_comes_back_as_it_was() -> None:
    key, before = incident(access_key_id="ASIAZWOIXTHEFAKEFAKE", user_agent="Boto3/1 \ud800")
    maker = FindingMaker(rules(), Site())
    text = freeze(before, rules())
    assert text.isascii()
    after = thaw(text, rules())
    assert after is not None
    assert thaw_key(freeze_key(key)) == key
    assert maker.make(key, after) == maker.make(key, before)
    after.merge(before)
    assert maker.make(key, after).count == 2 * maker.make(key, before).count


def test_rules_may_be_numbered_anew_and_go() -> None:
    key, before = incident()
    text, turned = freeze(before, rules()), tuple(reversed(rules()))
    after = thaw(text, turned)
    assert after is not None
    assert (
        FindingMaker(turned, Site()).make(key, after).rules
        == FindingMaker(rules(), Site()).make(key, before).rules
    )
    contact = tuple(rule for rule in rules() if rule.slug == "imds-contact")
    left = thaw(text, contact)
    assert left is not None
    assert FindingMaker(contact, Site()).make(key, left).rules == {"imds-contact": 2}
    assert thaw(text, ()) is None


@pytest.mark.parametrize("text", ["", "null", "[]", "[1,2,3,[[1]],[],[]]", '{"count":1}'])
def test_what_nobody_wrote_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no incident"):
        thaw(text, rules())


def test_secrets_do_not_reach_the_state(tmp_path: Path) -> None:
    url = f"http://169.254.169.254/latest/meta-data/?X-Amz-Security-Token={SECRET}"
    key, found = incident(url=url, payload=f'"SecretAccessKey" : "{SECRET}"')
    state = State(tmp_path)
    state.commit([Row(freeze_key(key), "f", 1, 2, 1.0, 2.0, freeze(found, rules()))])
    state.close()
    assert all(SECRET.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert (tmp_path / "state.sqlite").stat().st_mode & 0o777 == 0o600


def row(number: int, stage: int = 1) -> Row:
    return Row(f"k{number}", f"f{number}", stage, number, 1.0, None, "{}")


def test_findings_and_checkpoints_are_of_one_transaction(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.commit([row(1)], {1: {"offset": 5}}, {"status": "{}"})
    with pytest.raises(StateTrouble):
        state.commit([row(2), replace(row(3), incident=None)], {1: {"offset": 9}})  # type: ignore[arg-type]
    assert state.row("k2") is None
    assert state.logs() == [(1, {"offset": 5})]
    state.commit([row(1)], {1: None})
    assert state.logs() == []
    state.close()


def test_one_process_writes_and_others_read(tmp_path: Path) -> None:
    state = State(tmp_path)
    with pytest.raises(UsageError, match="another watch uses this state"):
        State(tmp_path)
    state.commit([row(1, stage=3), row(2)])
    assert read_status(tmp_path) == ({}, {3: 1, 1: 1}, True)
    state.close()
    assert read_status(tmp_path)[2] is False


def test_what_is_old_or_too_much_is_forgotten_the_mildest_first(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.commit([row(number, stage=number % 3) for number in range(30)])
    assert state.forget(time.time() - 60, 20) == 10
    assert state.stages() == {1: 10, 2: 10}
    assert state.forget(time.time() + 1, 20) == 0
    assert state.stages() == {}
    state.close()


def test_what_has_changed_since_it_was_told_is_known(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.commit([replace(row(number), told_count=number if number % 2 else 0) for number in range(1, 600)])
    changed = list(state.untold())
    assert len(changed) == 299
    state.told(replace(one, told_count=one.count) for one in changed)
    assert list(state.untold()) == []
    state.close()


def test_damage_in_use_is_noticed(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.commit([row(number) for number in range(2000)])
    state.close()
    state = State(tmp_path)
    state._database.execute("PRAGMA shrink_memory")  # what opening it read is held otherwise
    size = (tmp_path / "state.sqlite").stat().st_size
    with (tmp_path / "state.sqlite").open("r+b") as handle:
        handle.seek(4096)
        handle.write(b"\xff" * (size - 4096))
    with pytest.raises(StateTrouble):
        list(state.untold())
    assert state.damaged
    state.close()
    again = State(tmp_path)
    assert again.set_aside
    assert again.stages() == {}
    again.close()


def test_a_state_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    import sqlite3

    State(tmp_path).close()
    database = sqlite3.connect(tmp_path / "state.sqlite")
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(UsageError, match="newer version"):
        State(tmp_path)
