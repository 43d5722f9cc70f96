"""What texts say about the published comparison is what its files say."""

import csv
import statistics
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from mtl_bert.analysis import paper
from mtl_bert.analysis.archive import ARCHIVE
from mtl_bert.analysis.run_files import Run, find_runs
from mtl_bert.analysis.studies import SCORE, row_of, studies

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PRINTED_TWICE = {row.recipe for row in paper.rows(2)}
TABLES = ("table2", "table4")
LAMBDAS = (0, 0.3, 0.7, 1)


TOLD = ROOT / "experiments" / "README.md"


def records(table: str, study: str = "a-cs224n") -> list[dict[str, str]]:
    with (RESULTS / "tables" / f"{study}-{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def with_spread(record: dict[str, str], mean: str, sd: str) -> str:
    return f"{float(record[mean]):.3f} ± {float(record[sd]):.3f}".replace("-", "−")


def run_rows() -> Iterator[tuple[paper.PaperRow, dict[str, str]]]:
    """The rows of Tables 2 and 4 that were run, each once."""
    for number, table in zip((2, 4), TABLES, strict=True):
        for record in filter(lambda record: record["experiment"], records(table)):
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
            with_spread(record, f"{name}_mean", f"{name}_sd")
            for name in ("sst", "qqp", "sts", "score")
        ]
        time = times.get(row.label, {"minutes_to_rr_paper": "", "minutes_to_rr": ""})
        ratios = [time[name] for name in ("minutes_to_rr_paper", "minutes_to_rr")]
        expected.append([
            record["method"], *numbers, *(f"{float(x):.2f}" if x else "–" for x in ratios),
        ])  # fmt: skip
    assert cells(TOLD, "### Scores and times") == expected


def test_the_table_of_one_epoch_is_that_of_the_files() -> None:
    expected = [
        [r["method"], f"{float(r['qqp_paper']):.3f}", with_spread(r, "qqp_mean", "qqp_sd")]
        for r in records("table3")
    ]
    assert cells(TOLD, "### Paraphrase after one epoch (Table 3)") == expected
    assert {record["seeds"] for record in records("table3")} == {"1 2 3"}


def test_the_table_of_ratios_is_that_of_the_files() -> None:
    found = records("scores", "imbalance")
    assert {record["n"] for record in found} == {"3"}
    expected = [
        [method, *(
            with_spread(record, what, f"{what} sd")
            for what in ("score", "worst task")
            for record in sorted(found, key=lambda record: float(record["ratio"]))
            if record["method"] == method
        )]
        for method in dict.fromkeys(record["method"] for record in found)
    ]  # fmt: skip
    assert [len(row) for row in expected] == [1 + 2 * 3] * 5
    assert cells(TOLD, "### The ratio of sizes") == expected


def test_the_table_of_lambda_is_that_of_the_runs(runs: list[Run]) -> None:
    expected = []
    for value in LAMBDAS:
        row = [f"{value:g}"]
        for place in ("loss", "update"):
            chosen = [run.results for run in runs if is_arrp(run, value, place)]
            assert sorted(results.seed for results in chosen) == [1, 2, 3]
            for what in ("qqp", "sts"):
                row.append(mean_and_sd([results.tasks[what].value for results in chosen]))
            row.append(mean_and_sd([results.score for results in chosen]))
        expected.append(row)
    assert cells(TOLD, "### λ on the loss and on the update") == expected


def is_arrp(run: Run, value: float, place: str) -> bool:
    """Whether a run is one of those that differ in λ and in what it scales."""
    config = run.results.config
    arrp = config["sampler"]["name"] == "arrp" and config["freeze"] == "none"
    alike = (config["B"], config["epochs"], config["data"].get("share")) == (24_000, 4, 0.1)
    there = value == 1 or config["sampler"].get("lambda_on") == place  # λ=1 scales nothing
    return arrp and alike and there and config["lambda"] == value


def mean_and_sd(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}".replace("-", "−")


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
