"""Whatever goes wrong while a file is written, its name has the old content or the new, and nothing else is left."""

import errno
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mri_iahvae.errors import IahvaeError, ScanError, UsageError
from mri_iahvae.files import (
    atomic_path,
    digest,
    folder_of_one_run,
    gone_if_empty,
    make_folder,
    name_and_digest,
    name_as_text,
    require_new,
    shortened,
    write_json,
)


@pytest.fixture
def dead():
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def raises(error):
    def call(*_, **__):
        raise error

    return call


def part_of(process, node=None):
    return f"a.txt.{node or platform.node()}-{process}.part"


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(failure), atomic_path(path) as part:  # noqa: PT012
        part.write_text("half")
        raise failure
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("owner", "name"), [(Path, "open"), (os, "fsync"), (Path, "replace")])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, owner, name):
    path = tmp_path / "a.json"
    write_json(path, "old")

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, raises(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(IahvaeError, match=r"a.json: cannot be written: No space left on device; choose"):
            write_json(path, "new")
    assert json.loads(path.read_text()) == "old"
    assert list(tmp_path.iterdir()) == [path]
    write_json(path, "new")
    assert json.loads(path.read_text()) == "new"


def test_a_folder_that_is_removed_meanwhile(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    with pytest.raises(IahvaeError, match=r"a.txt: cannot be written: No such file"):  # noqa: PT012, SIM117
        with atomic_path(path) as part:
            part.write_text("new")
            shutil.rmtree(path.parent)
    assert not path.parent.exists()


def test_runs_that_write_the_same_file_do_not_disturb_each_other(tmp_path, monkeypatch):
    """The slower one keeps the name, and never a half of the other: process 1 is always alive, and not this one."""
    path = tmp_path / "a.txt"
    with atomic_path(path) as slow:
        slow.write_text("half of the slow one")
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: 1)
            with atomic_path(path) as fast:
                fast.write_text("fast")
        assert path.read_text() == "fast"
        slow.write_text("slow")
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_runs_left_is_removed_with_the_next_write(tmp_path, dead):
    path = tmp_path / "a.txt"
    kept = {
        part_of(1),  # alive
        part_of(dead, "other-node"),
        "b.txt" + part_of(dead).removeprefix("a.txt"),
        f"a.txt.{platform.node()}-.part",
    }
    for name in (*kept, part_of(dead), part_of(os.getpid())):
        (tmp_path / name).write_text("half")
    with atomic_path(path) as part:
        part.write_text("new")
    assert {entry.name for entry in tmp_path.iterdir()} == {"a.txt", *kept}
    assert path.read_text() == "new"


def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / part_of(os.getpid())).symlink_to(victim)
    with atomic_path(tmp_path / "a.txt") as part:
        part.write_text("new")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(IahvaeError, match="cannot be made") as caught:
        make_folder(tmp_path / "file" / "folder")
    assert "\n" not in str(caught.value)


def test_a_folder_has_one_run_at_a_time(tmp_path):
    with folder_of_one_run(tmp_path):
        with pytest.raises(UsageError) as caught, folder_of_one_run(tmp_path):
            pass
        process = f"process {os.getpid()} on {platform.node()}"
        assert str(caught.value) == (
            f"{tmp_path}: another run writes there ({process}); wait for its end or choose another folder"
        )
    with folder_of_one_run(tmp_path):
        pass


def test_a_killed_run_blocks_nobody_and_its_leftovers_go(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from mri_iahvae.files import folder_of_one_run\n"
        "with folder_of_one_run(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    with pytest.raises(UsageError, match=f"process {process.pid} on"), folder_of_one_run(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / part_of(process.pid)).write_text("half")
    with folder_of_one_run(tmp_path):
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


@pytest.mark.parametrize("where", ["file system", "system"])
def test_where_there_are_no_locks_nobody_is_stopped(tmp_path, monkeypatch, where):
    if where == "system":
        monkeypatch.setitem(sys.modules, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", raises(OSError(errno.ENOTSUP, "Operation not supported")))
    with folder_of_one_run(tmp_path), folder_of_one_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(IahvaeError, match="cannot be written to; choose another folder"):
        make_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"), [(b"a b.h5", "a b.h5"), ("头.h5".encode(), "头.h5"), (b"a\xff.h5", "a?.h5")]
)
def test_every_name_becomes_text(name, text):
    assert name_as_text(Path("folder") / os.fsdecode(name)) == text


@pytest.mark.parametrize("name", ["s" * 252 + ".h5", "\u00e9" * 126 + ".h5", "\u6838" * 84 + ".h5"])
def test_the_longest_names_can_be_written(tmp_path, dead, name):
    with atomic_path(tmp_path / name) as part:
        part.write_text("new")
        stem = part.name.removesuffix(f".{platform.node()}-{os.getpid()}.part")
    left = tmp_path / f"{stem}.{platform.node()}-{dead}.part"
    left.touch()
    with atomic_path(tmp_path / name) as part:
        part.write_text("newer")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_that_are_too_long_are_refused_at_once(tmp_path):
    with pytest.raises(
        UsageError, match="the name has 256 bytes, at most 255 fit there; choose a shorter one"
    ):
        require_new(tmp_path / "missing" / ("s" * 253 + ".h5"), overwrite=True)


def test_shortened_names_stay_apart():
    assert shortened("scan", 20) == "scan"
    first, second = (shortened("s" * 250 + end, 240) for end in "ab")
    assert first != second
    assert len(first) == len(second) == 240
    assert len(shortened("\u6838" * 80, 100).encode()) <= 100


def test_a_digest_is_of_the_content_alone(tmp_path):
    """Of a file SHA-256; of a folder it changes with any of its files, and not with their names."""
    first, folder = tmp_path / "mask.npy", tmp_path / "frames"
    first.write_bytes(b"abc")
    assert digest(first) == hashlib.sha256(b"abc").hexdigest()
    assert name_and_digest(first) == "mask.npy, sha256 ba7816bf8f01cfea"
    folder.mkdir()
    found = []
    for name, content in (("a", b"1"), ("b", b"2"), ("b", b"3")):
        (folder / name).write_bytes(content)
        found.append(digest(folder))
    assert len({*found}) == 3
    (folder / "b").rename(folder / "c")
    assert digest(folder) == found[-1]
    assert name_and_digest(folder) == "frames"
    with pytest.raises(IahvaeError, match="gone: cannot be read: No such file"):
        digest(tmp_path / "gone")


def test_folders_that_a_block_made_and_left_empty_go(tmp_path):
    (tmp_path / "old").mkdir()
    for name in ("old", "old/new/deep"):
        with pytest.raises(ScanError), gone_if_empty(tmp_path / name):  # noqa: PT012
            make_folder(tmp_path / name)
            raise ScanError
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with pytest.raises(IahvaeError, match="cannot be made"), gone_if_empty(tmp_path / ("x" * 300)):
        make_folder(tmp_path / ("x" * 300))
    with gone_if_empty(tmp_path / "old" / "new"):
        write_json(tmp_path / "old" / "new" / "a.json", {})
    assert (tmp_path / "old" / "new" / "a.json").is_file()
