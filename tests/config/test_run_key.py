"""Two runs are the same if they are told to do the same, and only then."""

import pytest

from mtl_bert.config.run_key import LATER, identity, run_name
from mtl_bert.config.settings import Settings
from tests.composing import settings_of

ARRP = ("sampler=arrp", "lambda=0.5", "B=24")


@pytest.mark.parametrize(
    "overrides",
    [
        ["logger=tensorboard"],
        ["trainer.workers=2", "trainer.threads=1", "trainer.accelerator=cpu"],
        ["trainer.bar=false", "trainer.log_every=1", "trainer.save_every_steps=3"],
        ["batch_size=16", "accumulate=2"],
        ["batch_size=8", "trainer.devices=4"],
        ["freeze=[]"],
    ],
)
def test_what_makes_no_difference(overrides: list[str]) -> None:
    assert identity(settings_of(*ARRP, *overrides)) == identity(settings_of(*ARRP))


DIFFERENT = (
    [],
    ["seed=2"],
    ["lambda=0.3"],
    ["B=25"],
    ["B_scale=0.5"],
    ["freeze=all_but_head"],
    ["freeze=['encoder.*']"],
    ["epochs=11"],
    ["batch_size=16"],
    ["lr=1e-5"],
    ["surgery=pcgrad"],
    ["sampler.lambda_on=update"],
    ["optimizer.weight_decay=0"],
    ["scheduler=linear"],
    ["data.scale=0.05"],
    ["data.limit=50"],
    ["data.limit={sst: 50}"],
    ["data.imbalance=10"],
    ["data.dev_limit=10"],
    ["model.dropout=0.2"],
    ["trainer.precision=bf16-mixed"],
    ["trainer.clip=1"],
    ["bucket=20"],
    ["bucket=50"],
    ["trainer.validate_every=2"],
    ["trainer.dev_sample=null"],
    ["trainer.dev_sample=100"],
    ["task=[sst,sts]"],
)


def test_what_makes_a_difference() -> None:
    found = {identity(settings_of(*ARRP, *overrides)) for overrides in DIFFERENT}
    assert len(found) == len(DIFFERENT)


def test_a_named_freeze_set_is_its_patterns() -> None:
    named = settings_of(*ARRP, "freeze=all_but_head")
    listed = settings_of(*ARRP, "freeze=['*','!heads.{task}.*']")
    assert identity(named) == identity(listed)


def test_without_a_b_its_scale_is_nothing() -> None:
    plain, scaled = settings_of("sampler=rr"), settings_of("sampler=rr", "B_scale=0.1")
    assert identity(plain) == identity(scaled)


def test_runs_from_before_a_setting_are_those_with_its_default() -> None:
    """A sweep that was begun with an older version of the program goes on."""
    now = settings_of(*ARRP, "trainer.dev_sample=null")  # the others' defaults changed nothing
    plain = now.plain()
    for key in LATER:
        group, _, name = key.rpartition(".")
        del (plain[group] if group else plain)[name]
    before = Settings.model_validate(plain)
    assert before.plain() == plain
    assert identity(before) == identity(now)
    assert run_name(before) == run_name(now)


def test_the_name_says_what_the_run_is() -> None:
    settings = settings_of(*ARRP, "freeze=all_but_head", "seed=7")
    lead = "arrp-B24-lambda0.5-all_but_head-seed7-"
    assert run_name(settings) == lead + identity(settings)[:8]
    assert run_name(settings_of("sampler=rr")).startswith("rr-seed1-")
