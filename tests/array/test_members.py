"""Who is in an array: those whose files change, and whose processes are there."""

import json
import time
from dataclasses import asdict, replace

import psutil
import pytest

from rsscale.array import members
from rsscale.array.members import Member, Roster, joined
from rsscale.store.lease import Holder
from rsscale.store.storage import Storage


def _write(place: Storage, member: Member) -> None:
    place.write(f"array/members/{member.id}.json", json.dumps(asdict(member)).encode())


def elsewhere(name: str) -> Member:
    return Member(name, Holder("elsewhere", 1, 0.0, time.time() - 10_000), 2)  # its clock is late


def test_a_member_is_there_while_it_is_joined(anywhere: Storage) -> None:
    roster = Roster(anywhere, 0.0)
    with joined(anywhere, 2) as one, joined(anywhere, 3) as other:
        assert roster.members() == {one.id: one, other.id: other}
    assert roster.members() == {}
    assert list(anywhere.names("array")) == []


def test_a_member_writes_its_file_again_and_again(anywhere: Storage) -> None:
    with joined(anywhere, 1, renew_s=0.05) as me:
        name = f"array/members/{me.id}.json"
        anywhere.delete(name)
        until = time.monotonic() + 30
        while not anywhere.exists(name):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_one_of_another_machine_is_gone_when_its_file_stays_the_same(
    anywhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(anywhere, elsewhere("far"))
    roster, now = Roster(anywhere, 0.0), time.monotonic()
    assert set(roster.members()) == {"far"}
    monkeypatch.setattr(members.time, "monotonic", lambda: now + members.LEASE_S + 5)
    assert roster.members() == {}
    _write(anywhere, replace(elsewhere("far"), slots=3))  # it was cut off, and is back
    assert roster.members()["far"].slots == 3


def test_a_dead_process_of_this_machine_is_gone_at_once(anywhere: Storage) -> None:
    me = Member.me(2)
    older = replace(me.holder, born=psutil.Process().create_time() - 100)
    _write(anywhere, Member("dead", older, 2))
    _write(anywhere, elsewhere("far"))
    roster = Roster(anywhere, 0.0)
    assert set(roster.members()) == {"far"}
    roster.sweep()
    assert list(anywhere.names("array")) == ["array/members/far.json"]


def test_files_that_are_no_members_are_passed_over(anywhere: Storage) -> None:
    for name, content in {"a": b"", "b": b"[]", "c": b'{"id": "c"}', "d": b"{"}.items():
        anywhere.write(f"array/members/{name}.json", content)
    assert Roster(anywhere, 0.0).members() == {}


def test_the_folder_is_looked_at_now_and_then(anywhere: Storage) -> None:
    roster = Roster(anywhere, 1000.0)
    assert roster.members() == {}
    with joined(anywhere, 2):
        assert roster.members() == {}
