"""The settings' descriptions, and what is said of names that are not theirs."""

import re
from pathlib import Path

import pytest

from mtl_bert.config.compose import read_settings
from mtl_bert.config.settings import RENAMED, ConfigError, setting_names
from tests.composing import settings_of

ROOT = Path(__file__).parents[2]


def test_the_changelog_lists_every_new_name() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    found = re.findall(r"^\| `([\w.]+)` \| `([\w.]+)` \|$", text, re.MULTILINE)
    assert dict(found) == RENAMED


def test_every_new_name_is_a_setting_and_no_old_one_is() -> None:
    assert {*RENAMED.values()} - {*setting_names()} == {"scheduler.warmup_ratio"}
    assert {*RENAMED}.isdisjoint(setting_names())


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_name_is_answered_with_the_new_one(old: str) -> None:
    plain = settings_of("sampler=rr").plain()
    group, _, name = old.rpartition(".")
    (plain[group] if group else plain)[name] = 1
    message = f"{old}: expected a known setting, found {old}; write {RENAMED[old]}"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        read_settings(plain)
