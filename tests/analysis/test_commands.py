"""The command for a gap makes a run of the same setting: composed by the program itself."""

import shlex
from typing import Any

import pytest

from mtl_bert.analysis import paper
from mtl_bert.analysis.commands import fill, independent
from mtl_bert.analysis.methods import setting_of
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import studies
from tests.analysis.factory import Made, made_of
from tests.analysis.making import NOWHERE, run_of, study_of
from tests.composing import settings_of

SETTINGS = [
    "sampler=rr",
    "task=[sts,sst] sampler=arrp lambda=0.5 B=100 B_scale=0.5 freeze=all_but_head",
    "sampler=annealed data.scale=0.02 data.seed=3 epochs=4",
    "data=cs224n data.dir=/somewhere model=bert_base lr=1e-5 data.share=0.15",
    "data=cs224n data.dir=/somewhere data.imbalance=10 data.dev_limit={qqp:40,sst:7}",
    "trainer.devices=2 batch_size=4 model.pairs=alone",
    "model=bert_base +model.source.settings.hidden_dropout_prob=0.2 surgery=none",
    "+experiment/table4=arrp_f0_lambda05 scheduler=linear optimizer.weight_decay=0",
]


def recorded(*words: str, overrides: list[str] | None = None) -> Run:
    """A run with the settings of a command line, which it remembers."""
    update = {"config": settings_of(*words).plain(), "overrides": overrides or [*words]}
    return Run(NOWHERE, "run", run_of(Made()).results.model_copy(update=update))


@pytest.mark.parametrize("words", SETTINGS)
def test_the_same_setting_is_composed_for_another_method(words: str) -> None:
    run = recorded(*words.split())
    (study,) = studies([run])
    program, name, multirun, *given = shlex.split(independent(study, 4))
    assert (program, name, multirun) == ("mtl-bert", "train", "-m")
    assert "seed=1,2,3" in given
    again = recorded(*(word for word in given if not word.startswith("seed=")))
    assert (again.method.sampler, again.epochs) == ("single", 4)
    assert setting_of(again.results) == setting_of(run.results)


def test_another_setting_would_be_seen() -> None:
    assert setting_of(recorded("lr=1e-5").results) != setting_of(recorded("lr=2e-5").results)


def test_no_place_on_a_disk_is_named() -> None:
    (study,) = studies([recorded("data=cs224n", "data.dir=/home/somebody")])
    assert "data=cs224n data.dir=DIR" in fill(study, 2, "rr", 10)
    assert "/home" not in fill(study, 2, "rr", 10)


def test_what_chooses_a_method_or_a_place_is_not_repeated() -> None:
    own = ["sampler=arrp", "lambda=0.5", "seed=7", "epochs=2", "logger=wandb", "hydra.run.dir=x"]
    run = recorded("sampler=arrp", "lambda=0.5", overrides=[*own, "lr=1e-5"])
    (study,) = studies([run])
    expected = "mtl-bert train -m +experiment/table2=rr seed=1,2,3 epochs=10 lr=1e-5"
    assert fill(study, 2, "rr", 10) == expected


def test_where_nothing_is_recorded_that_is_said() -> None:
    command = fill(study_of(Made()), 3, "rr", 1)
    assert command.startswith("mtl-bert train -m +experiment/table3=rr seed=1,2,3 epochs=1  # and")
    assert "Provenance" in command


def command(study_changes: dict[str, Any]) -> list[str]:
    study = study_of(made_of(paper.row(2, "annealed_56000")), **study_changes)
    return shlex.split(fill(study, 2, "rr", 10), comments=True)


def test_seeds_are_those_of_the_setting_and_three_at_least() -> None:
    assert "seed=1,2,3" in command({})
    assert "seed=1,2,3,7" in command({"seed": 7})


def test_the_scale_of_b_goes_along() -> None:
    assert "B_scale=0.11" in command({"B_scale": 0.11})
    assert not [word for word in command({}) if word.startswith("B_scale")]
