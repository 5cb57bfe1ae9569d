"""Tasks as files: each is taken once, whoever comes, and told of once."""

from concurrent.futures import ThreadPoolExecutor

from rsscale.array.board import Board, older_epochs, remove_epoch
from rsscale.store.storage import Storage


def test_a_task_is_offered_until_somebody_takes_it(anywhere: Storage) -> None:
    board = Board(anywhere, 3)
    assert list(board.offered()) == []
    board.post("000001", {"tile": "a"})
    board.post("000002", {"tile": "b"})
    assert dict(board.offered()) == {"000001": {"tile": "a"}, "000002": {"tile": "b"}}
    assert board.take("000001", "me")
    assert not board.take("000001", "you")
    assert [name for name, _ in board.offered()] == ["000002"]
    assert board.claims({}) == {"000001": "me"}
    assert board.claims({"000001": "known"}) == {"000001": "known"}


def test_of_many_that_reach_for_a_task_one_gets_it(anywhere: Storage) -> None:
    board = Board(anywhere, 1)
    board.post("000001", {})
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda n: board.take("000001", str(n)), range(8)))
    assert sum(got) == 1
    assert board.claims({}) == {"000001": str(got.index(True))}


def test_what_came_of_a_task_is_there_until_it_is_removed(anywhere: Storage) -> None:
    board = Board(anywhere, 1)
    for name in ("000001", "000002"):
        board.post(name, {"tile": name})
        board.take(name, "me")
    board.report("000001", {"result": 5})
    assert list(board.reports()) == [("000001", {"result": 5})]
    assert board.open_claims() == {"000002": "me"}
    board.remove("000001")
    assert list(board.reports()) == []
    assert board.tile_of("000001") == ""
    assert board.tile_of("000002") == "000002"


def test_damaged_files_are_no_tasks(anywhere: Storage) -> None:
    board = Board(anywhere, 1)
    anywhere.write("array/000001/tasks/000001.json", b"")
    anywhere.write("array/000001/tasks/000002.json", b"[1]")
    anywhere.write("array/000001/claims/000003.json", b"")
    assert list(board.offered()) == []
    assert board.claims({}) == {}
    assert board.crew() is None


def test_epochs_do_not_see_each_other(anywhere: Storage) -> None:
    first, second = Board(anywhere, 1), Board(anywhere, 2)
    first.open({"plan": "a"})
    first.post("000001", {})
    assert second.crew() is None
    assert list(second.offered()) == []
    assert older_epochs(anywhere, 2) == [1]
    remove_epoch(anywhere, 1)
    assert first.crew() is None
    assert older_epochs(anywhere, 2) == []
