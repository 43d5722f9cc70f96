"""The published tables are those of the published runs, which say what they were and not where."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
import pytest

from mtl_bert.analysis import claims, paper
from mtl_bert.analysis.frames import Frames, read
from mtl_bert.analysis.leaderboard import Comparison

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(RESULTS / "runs.tar.xz") as tar:
        tar.extractall(place, filter="data")
    return place


@pytest.fixture(scope="module")
def frames(unpacked: Path) -> Frames:
    found = read(unpacked)
    assert found.warnings == ()
    return found


def printed(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / "tables" / f"{name}.csv")


def test_every_published_row_stands_in_its_table_with_the_archive_s_numbers(
    frames: Frames,
) -> None:
    c = Comparison(frames, "A")
    for number in (2, 4):
        table = printed(f"a-cs224n-table{number}").set_index("experiment")
        assert list(table.index) == [row.experiment for row in paper.rows(number)]
        for row in paper.rows(number):
            method = claims.run_of(c, row)
            assert method == table["method"][row.experiment]
            runs = c.of(method)
            assert len(runs) >= 3
            assert table["score"][row.experiment] == pytest.approx(runs["score"].mean())
            assert table["score_sd"][row.experiment] == pytest.approx(runs["score"].std())
            assert table["minutes"][row.experiment] == pytest.approx(runs["minutes"].mean())


def test_every_run_of_the_archive_is_listed(frames: Frames) -> None:
    listed = pd.concat(printed(path.stem) for path in (RESULTS / "tables").glob("*-runs.csv"))
    own = frames.runs.astype({"run": str}).set_index("run")["score"].sort_index()
    pd.testing.assert_series_equal(listed.set_index("run")["score"].sort_index(), own)


def places(node: Any) -> Iterator[str]:
    """Absolute paths anywhere in a record."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from places(child)
    if isinstance(node, str) and PurePath(node).is_absolute():
        yield node


def test_the_runs_say_what_they_were_and_not_where(unpacked: Path, frames: Frames) -> None:
    assert not frames.runs["commit"].str.contains("dirty").any()
    assert (frames.runs["commit"] != "").all()
    assert not frames.runs["synthetic"].any()
    for path in unpacked.rglob("results.json"):
        assert not list(places(json.loads(path.read_text("utf-8"))))
