"""A file is written whole or not at all, and what is no file stays what it is."""

import os
import resource
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from cpuhp.files import write_whole


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("before")
    link.symlink_to(target)
    write_whole(link, "after")
    assert link.is_symlink() and target.read_text() == "after"


def test_a_pipe_stays_a_pipe(tmp_path):
    pipe, seen = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = Thread(target=lambda: seen.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, ["one ", "two"])
    reader.join()
    assert seen == ["one two"] and pipe.is_fifo()


def test_standard_output_can_be_named():
    script = "from cpuhp.files import *; write_whole(Path('/dev/stdout'), 'told')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.stdout == b"told" and not done.stderr
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize("name", ["", ".", "folder"])
def test_a_folder_is_no_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(Path(name), "text")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("name", ["gone/file", "plain/file"])
def test_an_error_names_the_file_that_was_asked_for(tmp_path, name):
    (tmp_path / "plain").write_text("")
    with pytest.raises(OSError, match=name):
        write_whole(tmp_path / name, "text")


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="file"):
            write_whole(path, "after" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_device_is_told_and_stays():
    if not Path("/dev/full").is_char_device():
        pytest.skip("needs /dev/full")
    with pytest.raises(OSError, match="/dev/full"):
        write_whole(Path("/dev/full"), "text")
    assert Path("/dev/full").is_char_device()
