from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.settings import SettingsError
from streamproc.worker.state import StateStore, seal, unseal


@pytest.fixture(params=["folder", "file-url", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {"folder": str(tmp_path), "file-url": f"file://{tmp_path}", "memory": f"memory://{tmp_path}"}[request.param]


def test_the_newest_snapshot_is_loaded_and_the_last_two_are_kept(url: str) -> None:
    store = StateStore(url)
    assert store.load("accounts-3") is None
    for position in (7, 70, 700):
        store.save("accounts-3", position, b"%d" % position)
    store.save("accounts-31", 9, b"another")
    assert store.load("accounts-3") == b"700"
    assert store._positions("accounts-3") == [70, 700]
    assert StateStore(url).load("accounts-31") == b"another"


def test_what_a_paused_worker_writes_late_does_not_hide_what_came_after(url: str) -> None:
    store = StateStore(url)
    store.save("campaigns", 200, b"old")
    store.save("campaigns", 300, b"new")
    store.save("campaigns", 150, b"late")
    assert store.load("campaigns") == b"new"
    assert store._positions("campaigns") == [200, 300]


@given(data=st.binary(max_size=200), cut=st.integers(0, 400), flip=st.integers(0, 400), bit=st.integers(0, 7))
def test_a_torn_or_changed_file_is_never_taken_for_whole(data: bytes, cut: int, flip: int, bit: int) -> None:
    whole = seal(data)
    assert unseal(whole) == data
    assert unseal(whole[: min(cut, len(whole) - 1)]) is None
    assert unseal(whole + b"x") is None
    changed = bytearray(whole)
    changed[flip % len(whole)] ^= 1 << bit
    assert unseal(bytes(changed)) is None


@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_with_the_newest_torn_the_one_before_is_loaded(tmp_path: Path, left: int) -> None:
    store = StateStore(str(tmp_path))
    store.save("campaigns", 1, b"before")
    store.save("campaigns", 2, b"newest" * 20)
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:left])
    assert store.load("campaigns") == b"before"


def test_a_save_that_dies_before_its_rename_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StateStore(str(tmp_path))
    store.save("campaigns", 1, b"before")

    def die(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(OSError, match="no space"):
        store.save("campaigns", 2, b"after")
    monkeypatch.undo()
    assert store.load("campaigns") == b"before"
    store.save("campaigns", 2, b"after")
    assert store.load("campaigns") == b"after"


def test_blocks_are_written_once_listed_and_deleted(url: str) -> None:
    store = StateStore(url)
    assert store.names("blocks/") == []
    store.put_once("blocks/000002", b"two")
    store.put_once("blocks/000001", b"one")
    store.put_once("blocks/000001", b"one")
    store.save("blocks/000001", 5, b"a snapshot of that name is no block")
    with pytest.raises(ValueError, match="another content"):
        store.put_once("blocks/000001", b"uno")
    assert store.names("blocks/") == ["blocks/000001", "blocks/000002"]
    assert store.names("blocks/000002") == ["blocks/000002"]
    assert (store.get("blocks/000001"), store.get("blocks/000003")) == (b"one", None)
    store.delete("blocks/000001")
    store.delete("blocks/000001")
    assert store.names("blocks/") == ["blocks/000002"]


def test_a_torn_block_is_not_there_and_may_be_written_again(tmp_path: Path) -> None:
    store = StateStore(str(tmp_path))
    store.put_once("blocks/7", b"seven")
    file = next((tmp_path / "blocks").iterdir())
    file.write_bytes(file.read_bytes()[:-1])
    assert store.get("blocks/7") is None
    store.put_once("blocks/7", b"seven")
    assert store.get("blocks/7") == b"seven"


@pytest.mark.parametrize("name", ["", "../up", "/root", "a//b", "Upper", "dot.dot", "a/", "blank "])
def test_a_name_that_could_leave_the_folder_or_mix_with_others_is_refused(tmp_path: Path, name: str) -> None:
    store = StateStore(str(tmp_path))
    with pytest.raises(ValueError, match="no name for state"):
        store.save(name, 0, b"")
    with pytest.raises(ValueError, match="no name for state"):
        store.put_once(name, b"")


def test_a_url_of_an_unknown_kind_is_the_operators_mistake() -> None:
    with pytest.raises(SettingsError, match="STATE_URL: 'nowhere://x' cannot be opened"):
        StateStore("nowhere://x")
