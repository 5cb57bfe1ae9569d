"""One run at a time on a folder; the dead let go at once, the far away after a while."""

import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from rsscale.errors import RunFolderError
from rsscale.store import lease
from rsscale.store.lease import Holder, acquire, is_superseded, latest_epoch
from rsscale.store.storage import Storage


def test_each_holder_has_a_newer_epoch(anywhere: Storage) -> None:
    with acquire(anywhere) as first:
        assert first.epoch == 1
        assert not is_superseded(anywhere, 1)
    with acquire(anywhere) as second:
        assert second.epoch == 2
        assert is_superseded(anywhere, 1)
    assert latest_epoch(anywhere) == 2


def test_a_second_holder_is_refused(anywhere: Storage) -> None:
    with (
        acquire(anywhere),
        pytest.raises(RunFolderError, match=f"process {os.getpid()} on .* is working on"),
        acquire(anywhere),
    ):
        pass
    with acquire(anywhere):
        pass


def _held_by(place: Storage, holder: Holder) -> None:
    place.write("lease/000001.json", json.dumps(holder.__dict__).encode())


def test_a_dead_process_of_this_machine_holds_nothing(anywhere: Storage) -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        ended.wait()
    me = Holder.me(1000.0)
    _held_by(anywhere, Holder(me.host, ended.pid, me.born, me.until))
    with acquire(anywhere) as taken:
        assert taken.epoch == 2


def test_a_number_given_to_a_younger_process_holds_nothing(anywhere: Storage) -> None:
    me = Holder.me(1000.0)
    _held_by(anywhere, Holder(me.host, me.pid, psutil.Process().create_time() - 100, me.until))
    with acquire(anywhere) as taken:
        assert taken.epoch == 2


@pytest.mark.parametrize(("left", "may"), [(1000.0, False), (-1.0, True)])
def test_another_machine_holds_until_its_time(anywhere: Storage, left: float, may: bool) -> None:
    _held_by(anywhere, Holder("elsewhere", 1, 0.0, time.time() + left))
    if may:
        with acquire(anywhere):
            return
    with pytest.raises(RunFolderError, match="process 1 on elsewhere"), acquire(anywhere):
        pass


def test_a_holder_renews_and_notices_when_it_was_superseded(anywhere: Storage) -> None:
    with acquire(anywhere, seconds=1000.0) as mine:
        before = json.loads(anywhere.read("lease/000001.json"))["until"]
        mine.renew()
        assert json.loads(anywhere.read("lease/000001.json"))["until"] > before
        anywhere.write("lease/000002.json", b"{}")
        assert not mine.lost.is_set()
        mine.renew()
        assert mine.lost.is_set()
    assert json.loads(anywhere.read("lease/000001.json"))["released"] is False


def test_of_two_that_come_at_once_one_is_refused(
    anywhere: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both saw that nobody holds; one created the epoch first."""
    monkeypatch.setattr(lease, "latest_epoch", lambda _: 0)
    with acquire(anywhere), pytest.raises(RunFolderError, match="is working on"), acquire(anywhere):
        pass
