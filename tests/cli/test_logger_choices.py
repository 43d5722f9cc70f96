"""Where metrics go: files always, W&B and TensorBoard where wanted, without an account."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtl_bert.runs.results import DataRecord
from mtl_bert.tracking.loggers import run_labels
from tests.cli.driving import SMALL, program, results_in
from tests.composing import settings_of
from tests.documented import filled, promised
from tests.offline_wandb import config_of, history_of, records_in

SEEDS = (1, 2)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs of one process, with both services on and no account."""
    cwd = tmp_path_factory.mktemp("logged")
    often = ["trainer.log_every_n_steps=1", "trainer.layers_every=1"]
    choice = ["logger=[wandb,tensorboard]", "seed=1,2", "B=8", "hydra.sweep.dir=sweep"]
    ended = program("train", "-m", *SMALL, *often, *choice, cwd=cwd)
    assert ended.code == 0, ended.err
    return cwd / "sweep"


@pytest.fixture(params=SEEDS)
def run(logged: Path, request: pytest.FixtureRequest) -> Path:
    """The directory of one of the jobs."""
    (found,) = logged.glob(f"arrp-*-seed{request.param}-*")
    return found


def test_csv_is_always_there(run: Path) -> None:
    assert "dev/score" in (run / "csv" / "metrics.csv").read_text("utf-8")


def test_tensorboard_files_have_every_curve(run: Path) -> None:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    metrics = {task: score.metric for task, score in results_in(run).tasks.items()}
    curves = filled(promised("Curves"), metrics)
    assert set(events.Tags()["scalars"]) == curves
    (event,) = events.Scalars("dev/score")
    assert event.value == pytest.approx(results_in(run).score)


def test_wandb_has_one_offline_run_for_each_job(run: Path) -> None:
    records = records_in(run)
    (started,) = (record.run for record in records if record.HasField("run"))
    results = results_in(run)
    assert started.project == "mtl-bert"
    assert started.job_type == "arrp"
    title = "demo sampler=arrp B=8 lambda=0.5 freeze=none"
    assert re.fullmatch(rf"{title} [0-9a-f]{{6}}", started.run_group)
    assert started.display_name == f"{title} seed={results.seed}"
    assert {"sampler=arrp", "B=8", "lambda=0.5", f"seed={results.seed}"} <= set(started.tags)
    assert config_of(records) == results.config
    scores = [row["dev/score"] for row in history_of(records) if "dev/score" in row]
    assert scores == [results.score]


def group(*words: str) -> str:
    data = DataRecord(name="demo", synthetic=True, sizes={}, skipped={}, truncated={})
    return run_labels(settings_of(*words), data, Path("nowhere")).group


def test_runs_of_one_group_differ_in_nothing_but_the_seed() -> None:
    first = group("seed=1")
    assert group("seed=2") == first
    assert group("trainer.threads=2", "logger=wandb") == first
    for other in (
        "trainer.dev_sample=7",
        "trainer.check_val_every_n_epoch=2",
        "trainer.gradient_clip_val=1",
        "lr=0.5",
    ):
        assert group(other) != first


def test_the_jobs_runs_are_different_ones(logged: Path) -> None:
    ids = {file.name for file in logged.glob("*/wandb/*/run-*.wandb")}
    assert len(ids) == len(SEEDS)
