"""Which runs belong together."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_bert.analysis import paper
from mtl_bert.analysis.methods import Method
from mtl_bert.analysis.paper_tables import unpublished
from mtl_bert.analysis.studies import row_of, studies
from tests.analysis.factory import PAPER_SURGERY, Made, made_of
from tests.analysis.making import run_of, study_of

ARRP = Made(sampler="arrp", B=24_000, lambda_=0.5)
SUM = {**PAPER_SURGERY, "method": {"_target_": "mtl_bert.surgery.Sum"}, "reduction": "sum"}


@pytest.mark.parametrize(
    "change",
    [
        {"lambda_": 0.3},
        {"B": 18_000},
        {"B_scale": 0.11},
        {"freeze": "all_but_head"},
        {"freeze": ["encoder.embeddings.*"]},
        {"surgery": SUM},
        {"sampler": "annealed"},
        {"override": {"sampler": {"lambda_on": "update"}}},
    ],
)
def test_what_makes_another_method(change: dict[str, Any]) -> None:
    study = study_of(ARRP, replace(ARRP, **change))
    assert [len(group.runs) for group in study.groups] == [1, 1]
    assert len({group.label for group in study.groups}) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 2e-5},
        {"batch_size": 16},
        {"bucket": 50},
        {"validate_every": 2},
        {"dev_sample": 30},
        {"encoder": "bert-base-uncased"},
        {"sizes": {"sst": 941, "qqp": 31_131, "sts": 664}},
        {"data": "cs224n"},
        {"override": {"data": {"share": 0.5}}},
        {"override": {"trainer": {"gradient_clip_val": 1.0}}},
        {"override": {"trainer": {"precision": "bf16-mixed"}}},
        {"override": {"trainer": {"devices": 2}}},
        {"override": {"optimizer": {"weight_decay": 0.1}}},
        {"override": {"scheduler": {"name": "linear"}}},
        {"override": {"model": {"dropout": 0.3}}},
        {"override": {"tasks": {"sst": {"head": {"_target_": "another"}}}}},
    ],
)
def test_what_makes_another_setting(change: dict[str, Any]) -> None:
    found = studies([run_of(ARRP), run_of(replace(ARRP, **change))])
    assert [len(study.runs) for study in found] == [1, 1]
    assert found[0].slug != found[1].slug
    first, second = (study.name.partition(":")[2] for study in found)
    assert first != second or "tasks" in change.get("override", {})  # definitions have no words


def test_settings_are_named_by_what_they_differ_in() -> None:
    others = replace(ARRP, lr=1e-4, batch_size=4), replace(ARRP, encoder="another")
    names = [
        study.name.partition(", ")[2] for study in studies([run_of(ARRP), *map(run_of, others)])
    ]
    assert sorted(names) == [
        "encoder another",
        "encoder tiny, batch_size=32, lr=0.0007",
        "encoder tiny, batch_size=4, lr=0.0001",
    ]
    (only,) = studies([run_of(ARRP)])
    assert only.name.endswith("encoder tiny")


def test_sizes_are_named_where_nothing_else_differs() -> None:
    smaller = replace(ARRP, sizes={"sst": 100, "qqp": 31_131, "sts": 664})
    names = [study.name for study in studies([run_of(ARRP), run_of(smaller)])]
    assert {name.rpartition(", ")[2] for name in names} == {"sst.train=940", "sst.train=100"}


@pytest.mark.parametrize(
    "change",
    [
        {"device": "another"},
        {"minutes": 3.0},
        {"B_scale": 1.0},
        {"validate_every": 1},
        {"dev_sample": 30_000},
        {"freeze": []},
        {"override": {"trainer": {"num_workers": 2, "enable_progress_bar": False}}},
        {"override": {"trainer": {"save_minutes": 1, "save_steps": 7}}},
        {"override": {"trainer": {"devices": 2}}, "batch_size": 16},
        {"override": {"logger": {"wandb": {"project": "x"}}}},
        {"override": {"data": {"dir": "/moved"}}},
        {"override": {"data": {"limit": None, "imbalance": None}}},
    ],
)
def test_what_makes_a_repetition(change: dict[str, Any]) -> None:
    study = study_of(ARRP, replace(ARRP, seed=2, **change))
    assert [group.seeds for group in study.groups] == [(1, 2)]


def test_the_same_seed_twice_keeps_the_newest() -> None:
    old, new = run_of(replace(ARRP, later=1), "old"), run_of(replace(ARRP, later=2), "new")
    for order in ([old, new], [new, old]):
        (study,) = studies(order)
        assert [run.name for run in study.runs] == ["new"]
        assert [run.name for run in study.superseded] == ["old"]


def test_epochs_are_kept_apart_and_the_most_frequent_number_is_the_main_one() -> None:
    made = [replace(ARRP, epochs=epochs, seed=seed) for epochs in (1, 1, 1, 4, 7) for seed in (1,)]
    more = [replace(ARRP, epochs=4, seed=2), replace(ARRP, epochs=1, seed=3)]
    study = study_of(*made, *more)
    assert study.main_epochs == 4
    assert [group.epochs for group in study.main] == [4]
    assert [group.seeds for group in study.single] == [(1, 3)]
    assert study_of(replace(ARRP, epochs=4), replace(ARRP, epochs=7, seed=2)).main_epochs == 7
    assert study_of(replace(ARRP, epochs=1)).main_epochs is None


def test_an_untrained_model_belongs_to_any_number_of_epochs() -> None:
    random = [Made(sampler="random", epochs=epochs, seed=3) for epochs in (1, 4)]
    for made in (random[0], random[1], None):
        study = study_of(replace(ARRP, epochs=4), *([made] if made else random))
        assert [group.label for group in study.main] == ["random baseline", ARRP_LABEL]
        assert study.single == ()


ARRP_LABEL = "ARRP F=0 λ=0.5 B=24,000"


@given(st.permutations(range(6)))
def test_the_order_of_runs_says_nothing(order: list[int]) -> None:
    made = [replace(ARRP, seed=seed, lambda_=value) for seed in (1, 2, 3) for value in (0.3, 0.5)]
    runs = [run_of(m, f"run{n}") for n, m in enumerate(made)]
    (study,) = studies([runs[place] for place in order])
    assert [(g.label, g.seeds) for g in study.groups] == [
        ("ARRP F=0 λ=0.3 B=24,000", (1, 2, 3)),
        (ARRP_LABEL, (1, 2, 3)),
    ]


@pytest.mark.parametrize("row", paper.ROWS)
def test_each_published_row_is_found_and_no_other_one(row: paper.PaperRow) -> None:
    for scale in (1.0, 0.11):
        study = study_of(made_of(row, B_scale=scale))
        groups = study.single if row.table == 3 else study.main
        same = [other for other in paper.rows(row.table) if row_of(groups, other) is not None]
        assert same == [row]
        assert unpublished(study) == []


@pytest.mark.parametrize(
    "change",
    [
        {"surgery": SUM},
        {"lambda_": 0.4},
        {"B": 2_640},
        {"freeze": ["encoder.*"]},
        {"override": {"sampler": {"lambda_on": "update"}}},
    ],
)
def test_a_method_of_ones_own_is_no_published_row(change: dict[str, Any]) -> None:
    study = study_of(replace(ARRP, **change))
    assert [row for row in paper.ROWS if row_of(study.main, row)] == []
    assert unpublished(study) == list(study.main)


def test_what_one_scales_is_all_the_same() -> None:
    on_update = {"override": {"sampler": {"lambda_on": "update"}}}
    study = study_of(replace(ARRP, lambda_=1.0), replace(ARRP, lambda_=1.0, seed=2, **on_update))
    assert [(g.label, g.seeds) for g in study.groups] == [("ARRP F=0 λ=1 B=24,000", (1, 2))]
    (other,) = study_of(replace(ARRP, **on_update)).groups
    assert other.label == "ARRP F=0 λ=0.5 B=24,000, λ on the update"


def test_surgery_says_nothing_where_there_is_nothing_to_combine() -> None:
    study = study_of(Made(sampler="full", surgery=SUM), Made(sampler="full", seed=2))
    assert [group.seeds for group in study.groups] == [(1, 2)]
    assert row_of(study.main, paper.row(2, "full")) is study.main[0]


def test_of_two_scales_the_plainer_one_is_the_row_and_the_other_stands_beside() -> None:
    study = study_of(replace(ARRP, B_scale=0.11), replace(ARRP, B_scale=0.5))
    row = row_of(study.main, paper.row(4, "arrp_f0_lambda05"))
    assert row is not None
    assert row.method.B_scale == 0.5
    assert [group.method.B_scale for group in unpublished(study)] == [0.11]


def test_labels_say_what_was_drawn() -> None:
    method = Method("annealed", 56_000, 0.11)
    assert method.label == "annealed B=56,000 × 0.11 = 6,160"
    assert method.brief("B") == "annealed"
    assert Method("arrp", 24_000, lambda_=0.5).brief("λ") == "ARRP F=0 B=24,000"
    own = run_of(replace(ARRP, surgery=SUM)).method
    assert own.label == "ARRP F=0 λ=0.5 B=24,000, surgery Sum, all, sum"


def test_an_untrained_model_stands_beside_runs_that_scored_samples() -> None:
    untrained = replace(ARRP, sampler="random", B=None, dev_sample=30)
    assert len(studies([run_of(replace(ARRP, dev_sample=30)), run_of(untrained)])) == 1
