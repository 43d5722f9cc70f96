import logging
from pathlib import Path

import pytest
import wandb

from mtl_bert.tracking.loggers import RunLabels, WandbRuns, open_loggers


@pytest.fixture
def labels(tmp_path: Path) -> RunLabels:
    return RunLabels(tmp_path, "name", "group", "arrp", ["sampler=arrp"], {"seed": 1})


def test_a_key_that_is_not_accepted_means_an_offline_run_and_says_so(
    labels: RunLabels, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_: object) -> bool:
        raise wandb.errors.AuthenticationError("no such key\nand more")

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr(wandb, "login", refuse)
    with caplog.at_level(logging.WARNING), open_loggers([WandbRuns("project")], labels) as loggers:
        assert loggers[1].experiment.offline
    assert "no W&B service (no such key): this run is kept offline" in caplog.text
    assert len(list(labels.directory.glob("wandb/offline-run-*"))) == 1


@pytest.mark.parametrize("mode", ["on", "", "Offline"])
def test_an_unknown_mode_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=r"logger\.wandb\.mode: expected auto, online or offline"):
        WandbRuns("project", mode)
