"""The published tables are those of the published runs."""

import csv
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from mtl_bert.analysis import paper
from mtl_bert.analysis.render import ARCHIVE
from mtl_bert.analysis.run_files import Run, find_runs
from mtl_bert.analysis.studies import SCORE, row_of, studies

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
PRINTED_TWICE = {row.recipe for row in paper.rows(2)}
TABLES = ("table2", "table4")


def records(table: str, study: str = "a-cs224n") -> list[dict[str, str]]:
    with (RESULTS / "tables" / f"{study}-{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_rows() -> Iterator[tuple[paper.PaperRow, dict[str, str]]]:
    """The rows of Tables 2 and 4 that were run, each once."""
    for number, table in zip((2, 4), TABLES, strict=True):
        for record in filter(lambda record: record["experiment"], records(table)):
            row = paper.row(number, record["experiment"])
            if int(record["n"]) and (number == 2 or row.recipe not in PRINTED_TWICE):
                yield row, record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(RESULTS / ARCHIVE) as tar:
        tar.extractall(place, filter="data")
    found, warnings = find_runs([place])
    assert not warnings
    return found


def test_the_tables_are_of_the_runs_in_the_archive(runs: list[Run]) -> None:
    (study,) = (found for found in studies(runs) if found.slug == "a-cs224n")
    for row, record in run_rows():
        group = row_of(study.main, row)
        assert group is not None
        assert record["seeds"] == " ".join(map(str, group.seeds))
        assert len(group.seeds) >= 3
        assert float(record["score"]) == pytest.approx(group.values(SCORE).mean())
        assert float(record["minutes"]) == pytest.approx(group.minutes.mean())


def places(node: Any) -> Iterator[str]:
    """Absolute paths anywhere in a record."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from places(child)
    if isinstance(node, str) and PurePath(node).is_absolute():
        yield node


def test_the_runs_say_what_they_were_and_not_where(runs: list[Run]) -> None:
    for run in runs:
        assert run.results.commit is not None
        assert "dirty" not in run.results.commit
        assert run.results.device
        assert not run.results.data.synthetic
        assert not list(places(run.results.model_dump()))
