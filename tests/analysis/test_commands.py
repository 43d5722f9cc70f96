"""The command for a gap makes a run of the same setting: composed by the program itself."""

import re
import shlex
from typing import Any

import pytest

from mtl_bert.analysis import paper
from mtl_bert.analysis.commands import fill, independent, overrides
from mtl_bert.analysis.methods import setting_of
from mtl_bert.analysis.run_files import Run
from mtl_bert.analysis.studies import studies
from tests.analysis.factory import Made, made_of
from tests.analysis.making import NOWHERE, run_of, study_of
from tests.composing import settings_of

SETTINGS = [
    "sampler=rr",
    "task=[sts,sst]",
    "sampler=annealed data.scale=0.02 data.seed=3 epochs=4",
    "data=cs224n data.dir=/somewhere model=bert_base lr=1e-5 data.share=0.15",
    "data=cs224n data.dir=/somewhere model=local model.path=/there model.dropout=0.2",
    "data=hub model=bert_base model.path=prajjwal1/bert-mini scheduler=linear",
    "scheduler=cosine scheduler.warmup_ratio=0.2 optimizer.weight_decay=0 "
    "optimizer.betas=[0.8,0.9]",
    "trainer.precision=bf16-mixed trainer.gradient_clip_val=1.5 trainer.accumulate_grad_batches=2 "
    "model.max_length=64",
    "group_by_length=50 trainer.check_val_every_n_epoch=2",
    "trainer.dev_sample=null",
    "trainer.dev_sample=500",
    "data=cs224n data.dir=/somewhere data.limit=50 data.imbalance=10 data.dev_limit={qqp:40,sst:7}",
    "trainer.devices=2 batch_size=4 model.pairs=alone",
    "model.source.settings.hidden_size=48 model.source.settings.num_hidden_layers=2",
    "model=bert_base +model.source.settings.hidden_dropout_prob=0.2",
]


def recorded(*words: str) -> Run:
    """A run with the settings of a command line, on dev sets some of which are large."""
    settings = settings_of(*words)
    results = run_of(Made()).results
    sizes = results.data.sizes | {"qqp": results.data.sizes["qqp"] | {"dev": 5000}}
    data = results.data.model_copy(update={"sizes": sizes})
    return Run(
        NOWHERE, "run", results.model_copy(update={"config": settings.plain(), "data": data})
    )


@pytest.mark.parametrize("words", SETTINGS)
def test_the_same_setting_is_composed(words: str) -> None:
    run = recorded(*words.split())
    again = recorded(*overrides(run, run.epochs))
    assert setting_of(again.results) == setting_of(run.results)
    assert again.epochs == run.epochs


@pytest.mark.parametrize("words", SETTINGS)
def test_a_command_can_be_pasted_into_a_shell(words: str) -> None:
    run = recorded(*words.split())
    (study,) = studies([run])
    python, m, program, multirun, *given = shlex.split(independent(study, 3))
    assert (python, m, program, multirun) == ("python", "-m", "mtl_bert.train", "-m")
    sampler, seeds, *rest = given
    assert (sampler, seeds) == ("sampler=single", "seed=1,2,3")
    assert rest == overrides(run, 3)


def test_what_is_as_usual_needs_no_words() -> None:
    demo = ["data=demo", "data.scale=0.11", "model=tiny", "epochs=10", "batch_size=32", "lr=0.0007"]
    assert overrides(recorded(), 10) == demo


def test_another_setting_would_be_seen() -> None:
    assert setting_of(recorded("lr=1e-5").results) != setting_of(recorded("lr=2e-5").results)


def test_no_place_on_a_disk_is_named() -> None:
    for words in SETTINGS:
        assert not re.search(r"=/", " ".join(overrides(recorded(*words.split()), 1)))


def command(study_changes: dict[str, Any], **row: Any) -> list[str]:
    study = study_of(made_of(paper.row(2, "annealed_56000"), **row), **study_changes)
    return shlex.split(fill(study, 2, "rr", 10))


def test_seeds_are_those_of_the_setting_and_three_at_least() -> None:
    assert "seed=1,2,3" in command({})
    assert "seed=1,2,3,7" in command({"seed": 7})


def test_the_scale_of_b_goes_along() -> None:
    assert "B_scale=0.11" in command({"B_scale": 0.11})
    assert not [word for word in command({}) if word.startswith("B_scale")]


def test_table_3_is_of_one_epoch() -> None:
    (study,) = studies([run_of(Made())])
    assert "epochs=1" in shlex.split(fill(study, 3, "rr", 1))


@pytest.mark.parametrize("words", SETTINGS)
def test_single_task_models_are_of_the_same_setting(words: str) -> None:
    run = recorded(*words.split())
    (study,) = studies([run])
    _, _, _, *settings = shlex.split(independent(study, 4))
    settings = [word for word in settings if word != "-m" and not word.startswith("seed=")]
    again = recorded(*settings)
    assert again.method.sampler == "single"
    assert again.epochs == 4
    assert setting_of(again.results) == setting_of(run.results)
