"""What texts say about the published comparison is what its files say."""

import csv
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from mtl_bert.reporting import paper
from mtl_bert.reporting.archive import ARCHIVE
from mtl_bert.reporting.finding import find_runs
from mtl_bert.reporting.runs import Run
from mtl_bert.reporting.studies import SCORE, row_of, studies

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PRINTED_TWICE = {row.recipe for row in paper.rows(2)}
TABLES = ("table2", "table4")


def records(table: str) -> list[dict[str, str]]:
    with (RESULTS / "tables" / f"a-cs224n-{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_rows() -> Iterator[tuple[paper.PaperRow, dict[str, str]]]:
    """The rows of Tables 2 and 4 that were run, each once."""
    for number, table in zip((2, 4), TABLES, strict=True):
        for record in records(table):
            row = paper.row(number, record["experiment"])
            if int(record["n"]) and (number == 2 or row.recipe not in PRINTED_TWICE):
                yield row, record


def cells(path: Path, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, less its head."""
    text = path.read_text("utf-8").partition(f"\n{heading}\n")[2]
    lines = ("|" + text.partition("\n|")[2]).partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(RESULTS / ARCHIVE) as tar:
        tar.extractall(place, filter="data")
    found, warnings = find_runs([place])
    assert not warnings
    return found


def test_the_first_screen_has_every_claim_with_its_verdict() -> None:
    judged = {r["claim"].rstrip("."): r["verdict"].partition(":")[0] for r in records("claims")}
    told = cells(ROOT / "README.md", "## What came of it")
    assert {claim: verdict for claim, verdict, *_ in told} == judged


def test_the_table_of_scores_and_times_is_that_of_the_files() -> None:
    times = {record["method"]: record for record in records("proportions")}
    expected = []
    for row, record in run_rows():
        numbers = [
            f"{float(record[f'{name}_mean']):.3f} ± {float(record[f'{name}_sd']):.3f}"
            for name in ("sst", "qqp", "sts", "score")
        ]
        time = times.get(row.label)
        ratios = ("minutes_to_rr_paper", "minutes_to_rr")
        expected.append([
            record["method"], *numbers,
            *(("–", "–") if time is None else (f"{float(time[name]):.2f}" for name in ratios)),
        ])  # fmt: skip
    told = cells(ROOT / "experiments" / "README.md", "### Scores and times")
    assert told == expected


def test_the_tables_are_of_the_runs_in_the_archive(runs: list[Run]) -> None:
    (study,) = (found for found in studies(runs) if found.slug == "a-cs224n")
    for row, record in run_rows():
        group = row_of(study.main, row)
        assert group is not None
        assert record["seeds"] == " ".join(map(str, group.seeds))
        assert len(group.seeds) >= 3
        assert float(record["score_mean"]) == pytest.approx(group.values(SCORE).mean())
        assert float(record["minutes_mean"]) == pytest.approx(group.minutes.mean())


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
