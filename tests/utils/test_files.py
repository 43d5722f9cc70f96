"""Whole files and directories, or none."""

import os
from pathlib import Path

import pytest

from mtl_bert.utils.files import (
    creating,
    remove_temporaries,
    without_places,
    write_text,
    write_together,
)


def everything(place: Path) -> list[str]:
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


def test_files_are_written_together(tmp_path: Path) -> None:
    texts = {tmp_path / "new" / "a": "one \r\n", tmp_path / "new" / "b": "zwölf"}
    write_together(texts)
    assert {path: path.read_bytes().decode() for path in texts} == texts
    assert everything(tmp_path) == ["new", "new/a", "new/b"]


@pytest.mark.parametrize("text", ["\ud800", None])
def test_one_that_fails_leaves_all_as_they_were(tmp_path: Path, text: str | None) -> None:
    (tmp_path / "a").write_text("before")
    if text is None:
        (tmp_path / "b").mkdir()
    with pytest.raises((OSError, UnicodeError)):
        write_together({tmp_path / "a": "after", tmp_path / "b": text or ""})
    assert (tmp_path / "a").read_text() == "before"
    assert everything(tmp_path) == (["a"] if text else ["a", "b"])


@pytest.mark.parametrize("there", [False, True])
def test_a_directory_appears_whole(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "deep" / "out"
    if there:
        out.mkdir(parents=True)
    with creating(out) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").touch(0o600)
        assert not out.exists() or not any(out.iterdir())
    assert everything(tmp_path) == ["deep", "deep/out", "deep/out/sub", "deep/out/sub/file"]
    assert (out / "sub" / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("mask", "file", "directory"), [(0o077, 0o600, 0o700), (0o2, 0o664, 0o775)]
)
def test_who_may_read_it_follows_the_umask(
    tmp_path: Path, mask: int, file: int, directory: int
) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a", "mine")
        with creating(tmp_path / "out") as temporary:
            (temporary / "sub").mkdir(0o700)
            (temporary / "sub" / "b").touch(0o600)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"a": file, "out": directory, "sub": directory, "b": file}


def test_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with creating(tmp_path / "out") as temporary:
            (temporary / "file").touch()
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail()
    assert everything(tmp_path) == []


def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".out.x.tmp").mkdir(parents=True)
    (tmp_path / "sub" / ".out.x.tmp" / ".file.y.tmp").touch()
    (tmp_path / ".file.z.tmp").touch()
    (tmp_path / "kept.tmp").touch()
    remove_temporaries(tmp_path)
    assert everything(tmp_path) == ["kept.tmp", "sub"]


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to("victim")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert (tmp_path / "link").read_text() == "new"
    assert not (tmp_path / "link").is_symlink()


def test_a_directory_appears_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to("empty")
    with creating(tmp_path / "out") as temporary:
        (temporary / "file").touch()
    assert everything(tmp_path / "empty") == ["file"]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("data.dir=/home/me/data", "data.dir=DIR/data"),
        ("data.dir='/home/me/my data'", "data.dir='DIR/my data'"),
        ('model.path="/home/me/my models/x"', 'model.path="DIR/x"'),
        ("t.sources={files:{train:/home/me/x.csv}}", "t.sources={files:{train:DIR/x.csv}}"),
        ("task=[/home/me/a.csv,/home/me/b.csv]", "task=[DIR/a.csv,DIR/b.csv]"),
        ("/home/me/my data", "DIR/my data"),
        ("cache: /home/me/c is damaged", "cache: DIR/c is damaged"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("1/2 of n/a", "1/2 of n/a"),
        ("encoder.*", "encoder.*"),
    ],
)
def test_of_places_of_this_machine_the_last_part_is_left(given: str, left: str) -> None:
    assert without_places({"a": [given, 3]}) == {"a": [left, 3]}
