"""Two runs are the same if they are told to do the same, and only then."""

import pytest

from mtl_bert.config.compose import read_job_settings
from mtl_bert.config.run_key import identity, run_name
from mtl_bert.config.settings import Settings
from tests.composing import settings_of

ARRP = ("sampler=arrp", "lambda=0.5", "B=24")


@pytest.mark.parametrize(
    "overrides",
    [
        ["logger=tensorboard"],
        ["trainer.num_workers=2", "trainer.threads=1", "trainer.accelerator=cpu"],
        [
            "trainer.enable_progress_bar=false",
            "trainer.log_every_n_steps=1",
            "trainer.save_steps=3",
        ],
        ["batch_size=16", "trainer.accumulate_grad_batches=2"],
        ["batch_size=8", "trainer.devices=4"],
        ["freeze=[]"],
    ],
)
def test_what_makes_no_difference(overrides: list[str]) -> None:
    assert identity(settings_of(*ARRP, *overrides)) == identity(settings_of(*ARRP))


OWN = ("sampler=rr", "+tasks.sst.batch_size=16")
SPLIT = ("batch_size=16", "trainer.accumulate_grad_batches=2")


def test_own_batch_sizes_count_by_their_product_too() -> None:
    whole = identity(settings_of(*OWN))
    halves = settings_of("sampler=rr", "+tasks.sst.batch_size=8", *SPLIT)
    assert halves.own_step_sizes == {"sst": 16}
    assert identity(halves) == whole
    assert identity(settings_of(*OWN, *SPLIT)) != whole


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
    ["trainer.gradient_clip_val=1"],
    ["group_by_length=20"],
    ["group_by_length=50"],
    ["trainer.check_val_every_n_epoch=2"],
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
    plain = settings_of("sampler=rr").plain()
    scaled, unused = read_job_settings(plain | {"B_scale": 0.1})
    assert unused == ["B_scale"]
    assert identity(scaled) == identity(Settings.model_validate(plain))


def test_a_setting_that_was_not_given_has_its_default() -> None:
    plain = settings_of(*ARRP).plain()
    del plain["group_by_length"], plain["data"]["limit"]
    assert identity(Settings.model_validate(plain)) == identity(settings_of(*ARRP))


def test_the_name_says_what_the_run_is() -> None:
    settings = settings_of(*ARRP, "freeze=all_but_head", "seed=7")
    lead = "arrp-B24-lambda0.5-all_but_head-seed7-"
    assert run_name(settings) == lead + identity(settings)[:8]
    assert run_name(settings_of("sampler=rr")).startswith("rr-seed1-")
