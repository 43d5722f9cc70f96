"""The settings' descriptions, and what is said of names that are not theirs."""

import re
from pathlib import Path

import pytest

from mtl_bert.config import reference
from mtl_bert.config.compose import made_by, read_settings, settings_yaml
from mtl_bert.config.run_key import identity
from mtl_bert.config.saved import saved_settings
from mtl_bert.config.settings import RENAMED, ConfigError, described
from tests.composing import config_of, settings_of, settings_with

ROOT = Path(__file__).parents[2]


def test_every_new_name_is_a_setting_and_no_old_one_is() -> None:
    names = {setting.key for setting in described()}
    assert {*RENAMED.values()} - names == {"scheduler.warmup_ratio"}
    assert {*RENAMED}.isdisjoint(names)


@pytest.mark.parametrize("old", sorted({*RENAMED} - {"scheduler.warmup"}))
def test_an_old_name_is_answered_with_the_new_one(old: str) -> None:
    plain = settings_of("sampler=rr").plain()
    group, _, name = old.rpartition(".")
    (plain[group] if group else plain)[name] = 1
    message = f"{old}: expected a known setting, found {old}; write {RENAMED[old]}"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        read_settings(plain)


def test_the_reference_is_what_the_declarations_say() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text("utf-8")
    again = "python -m mtl_bert.config.reference > docs/reference/settings.md"
    assert page == reference.page(), f"write it again: {again}"


def test_every_setting_of_a_choice_is_described() -> None:
    lines = reference.page().splitlines()
    own = [line.split(" | ") for line in lines if re.match(r"\| `\w+\.", line)]
    assert len(own) > 40
    assert [cells[0] for cells in own if not all(cell.strip(" |") for cell in cells)] == []


def test_an_example_is_a_value_that_the_setting_takes() -> None:
    """Written as they stand in messages, but for those that stand for a place or a task."""
    examples = [
        example
        for setting in described()
        for example in setting.example.split(" or ")
        if not re.search(r"DIR|TASK|wandb", example) and not setting.only_with
    ]
    assert len(examples) > 40
    composed = config_of()
    for example in examples:
        if example.partition("=")[0] in reference.GROUPS:
            settings_of(example)
        else:
            settings_with(composed, example)


def test_what_a_setting_takes_is_told_from_its_type() -> None:
    expected = {setting.key: setting.expected for setting in described()}
    assert expected["epochs"] == "a whole number ≥ 1 and ≤ 100,000"
    assert expected["batch_size"] == "a whole number ≥ 1"
    assert expected["group_by_length"] == "a whole number ≥ 2 or null"
    assert expected["data.share"] == "a number > 0 and ≤ 1"
    assert expected["model.dropout"] == "a number ≥ 0 and < 1"
    assert expected["trainer.packing"] == "true, false or null"
    assert expected["trainer.accelerator"] == "auto, cpu or gpu"
    assert expected["data.limit"] == "a whole number ≥ 1, one for each task, or null"


def test_the_command_line_is_kept_with_the_settings_and_decides_nothing(tmp_path: Path) -> None:
    plain = settings_of("sampler=rr")
    noted = made_by(plain, ["sampler=rr", "resume=run", "fail_fast=true", "B=3"], ["B"])
    assert noted.overrides == ["sampler=rr"]
    (tmp_path / "config.yaml").write_text(settings_yaml(noted), "utf-8")
    assert saved_settings(tmp_path / "config.yaml") == noted
    assert identity(noted) == identity(plain)
