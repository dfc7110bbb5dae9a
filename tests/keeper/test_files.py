"""Drafts: the old file, or the new one, and nothing else beside it."""

from __future__ import annotations

import hashlib
import os

import pytest

from mihomo_tproxy.keeper.files import Draft, digest_of


def test_put_in_place(tmp_path):
    path = tmp_path / "below" / "file"
    with Draft(str(path)) as draft:
        draft.write(b"ab")
        draft.write(b"c" * (1 << 17))
        draft.sync()
        assert not path.exists()
        draft.put_in_place()
    assert path.read_bytes() == b"ab" + b"c" * (1 << 17)
    assert draft.digest == hashlib.sha256(path.read_bytes()).hexdigest() == digest_of(str(path))
    assert os.listdir(path.parent) == ["file"]


def test_who_may_read_it(tmp_path):
    path = tmp_path / "list"
    leftover = tmp_path / "list.download"
    leftover.write_bytes(b"")
    leftover.chmod(0o666)
    for mode in (0o600, 0o640):
        with Draft(str(path)) as draft:
            draft.write(b"x")
            draft.put_in_place()
        assert path.stat().st_mode & 0o777 == mode
        path.chmod(0o640)


def test_given_up(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with Draft(str(path)) as draft:
        draft.write(b"new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_put_in_place_by_somebody_else_meanwhile(tmp_path):
    with Draft(str(tmp_path / "file")) as draft:
        draft.write(b"new")
        os.replace(draft.path, draft.target)
    assert (tmp_path / "file").read_text() == "new"


def test_leftover_of_a_crash_is_overwritten(tmp_path):
    (tmp_path / "file.download").write_text("something longer than the new content")
    with Draft(str(tmp_path / "file")) as draft:
        draft.write(b"new")
        draft.put_in_place()
    assert (tmp_path / "file").read_text() == "new"
    assert os.listdir(tmp_path) == ["file"]


def test_never_through_a_link(tmp_path):
    """What lies at the draft's name may not send us elsewhere."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "file.download").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=r"file\.download"):
        Draft(str(tmp_path / "file"))
    assert (tmp_path / "secret").read_text() == "secret"


def test_digest_of_nothing(tmp_path):
    assert digest_of(str(tmp_path / "none")) == ""
