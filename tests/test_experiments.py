"""``conf/experiment`` has a file for every published row, and each is the run that it says."""

import re
from pathlib import Path

import pytest

from mtl_bert.analysis import paper
from mtl_bert.config.compose import CONF
from mtl_bert.config.run_key import identity
from mtl_bert.config.settings import ConfigError
from mtl_bert.runs.factories import make_sampler
from mtl_bert.runs.methods import method_of
from tests.composing import settings_of

FILES = sorted((CONF / "experiment").glob("table*/*.yaml"))
NAMES = [str(path.relative_to(CONF / "experiment").with_suffix("")) for path in FILES]
LONGEST = 8  # lines that a delta may have


def chosen(name: str) -> str:
    table, _, row = name.partition("/")
    return f"+experiment/{table}={row}"


def test_every_published_row_is_there() -> None:
    assert sorted(f"table{row.table}/{row.experiment}" for row in paper.ROWS) == NAMES


@pytest.mark.parametrize("row", paper.ROWS, ids=[f"{r.table}-{r.experiment}" for r in paper.ROWS])
def test_the_report_finds_the_row_and_has_its_numbers(row: paper.PaperRow) -> None:
    name = f"table{row.table}/{row.experiment}"
    settings = settings_of(chosen(name))
    method = method_of(settings.plain())
    same = [r for r in paper.ROWS if r.is_of(method)]
    assert row in same
    assert {r.recipe for r in same} == {row.recipe}
    assert (settings.epochs == 1) == (row.table == 3)
    claim = (CONF / "experiment" / f"{name}.yaml").read_text("utf-8").splitlines()[2]
    printed = [float(number) for number in re.findall(r"-?\d+\.?\d*", claim)]
    last = row.minutes if row.score is None else row.score
    assert printed == [*row.tasks.values(), last]


def test_a_method_is_named_with_its_adapter() -> None:
    """Of the same schedule with three adapters the names differ, and the one without is as ever."""
    labels = {kind: method_of(settings_of(f"model.adapter={kind}").plain()).label
              for kind in ("none", "pals", "low_rank")}  # fmt: skip
    assert all(("adapter=" + kind in label) == (kind != "none") for kind, label in labels.items())


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_is_a_claim_and_a_delta(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    claim = [line for line in lines if line.startswith("#")]
    assert claim[0] == "# @package _global_"
    assert re.match(rf"# Table {path.parent.name[-1]}, .+ \(.*(printed|inferred).*\)$", claim[1])
    assert any(line.startswith("# Published: ") for line in claim)
    assert any(line.startswith("# Expected: ") for line in claim)
    command = f"# python -m mtl_bert.train +experiment/{path.parent.name}={path.stem} "
    assert claim[-1].startswith(command)
    assert len(lines) - len(claim) <= LONGEST


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_the_paper_s(name: str) -> None:
    settings = settings_of(chosen(name), "model=bert_base", "data=cs224n")
    assert (settings.lr, settings.batch_size) == (1e-5, 8)
    assert settings.epochs == (1 if name.startswith("table3") else 10)
    assert settings.surgery["scope"] == "all"
    label = (CONF / "experiment" / f"{name}.yaml").read_text("utf-8").splitlines()[1]
    if found := re.search(r"B=(\d+)", label):
        assert settings.B == (None if found[1] == "6040" else int(found[1]))
    if found := re.search(r"λ=([\d.]+)", label):
        assert settings.lambda_ == float(found[1])
    if found := re.search(r"F=(\d)", label):
        assert bool(settings.frozen) == bool(int(found[1]))


def test_the_same_run_in_two_tables_is_one() -> None:
    same = ("rr", "annealed_56000")
    for row in same:
        a, b = (settings_of(f"+experiment/{table}={row}") for table in ("table2", "table4"))
        assert identity(a) == identity(b)
    distinct = {identity(settings_of(chosen(name))) for name in NAMES}
    assert len(distinct) == len(NAMES) - len(same)


def test_the_demo_draws_the_papers_share() -> None:
    scaled = ("data.scale=0.08", "B_scale=${data.scale}")
    settings = settings_of("+experiment/table4=arrp_f0_lambda05", *scaled)
    assert (settings.B, settings.drawn) == (24000, 1920)
    with pytest.raises(ConfigError, match=r"^B_scale: expected no value without B, found"):
        settings_of("+experiment/table4=rr", *scaled)


OTHERS = [
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for path in sorted((CONF / "experiment").glob("*/*.yaml"))
    if path not in FILES
]


@pytest.mark.parametrize("name", OTHERS)
def test_an_experiment_says_what_it_is_and_how_it_is_run(name: str) -> None:
    group, _, row = name.partition("/")
    lines = (CONF / "experiment" / f"{name}.yaml").read_text("utf-8").splitlines()
    claim = " ".join(line for line in lines if line.startswith("#"))
    assert f"+experiment/{group}={row}" in claim or "python experiments/" in claim
    settings_of(chosen(name), "data=demo", "model=tiny")


def test_the_static_frontier_adds_gradients_up() -> None:
    names = [name for name in OTHERS if name.startswith("frontier/")]
    found = [settings_of(chosen(name)) for name in names]
    assert [s.sampler["temperature"] for s in found] == [1, 2, 5, float("inf")]
    assert all(method_of(settings.plain()).static for settings in found)


@pytest.mark.parametrize("kind", ["shared", "pals", "low_rank"])
def test_pals_have_the_schedule_of_their_authors(kind: str) -> None:
    settings = settings_of(f"+experiment/pals={kind}", "model=bert_base", "data=cs224n")
    assert settings.model.adapter == {"shared": "none"}.get(kind, kind)
    assert (settings.lr, settings.batch_size, settings.epochs) == (2e-5, 32, 25)
    sizes = {"large": 283_003, "small": 6_040, "smaller": 1_000}
    epoch = make_sampler(settings)(sizes, 1, 25, 1)
    assert len(epoch.steps) == 300 * 3
    assert {tuple(len(rows) for rows in step.rows.values()) for step in epoch.steps} == {(32,)}
