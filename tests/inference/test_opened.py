"""A finished run is opened from Python: its numbers as frames, its answers to new texts."""

import csv
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from mtl_bert.inference.card import save_tokenizer
from mtl_bert.inference.opened import Run
from mtl_bert.runs.results import RunFolder
from mtl_bert.utils.errors import UserError
from tests.cli.driving import train_here
from tests.factories import TINY, assert_tells


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two epochs of which only the second is scored."""
    folder = tmp_path_factory.mktemp("opened") / "run"
    train_here(folder, "sampler=rr", "epochs=2", "trainer.check_val_every_n_epoch=2", "lr=1e-3")
    return Run.open(folder)


def test_metrics_have_a_row_for_each_epoch_and_task(run: Run) -> None:
    frame = run.metrics()
    assert frame[["epoch", "task"]].values.tolist() == [
        [1, "sst"],
        [1, "sts"],
        [2, "sst"],
        [2, "sts"],
    ]
    documented = [
        line.strip().partition(":")[0] for line in (Run.metrics.__doc__ or "").split("\n")
    ]
    assert list(frame.columns) == [name for name in documented if name in frame.columns]
    unscored, scored = frame[frame.epoch == 1], frame[frame.epoch == 2]
    assert unscored[["value", "n", "score"]].isna().all(axis=None)
    final = run.results.epochs[1]
    assert dict(zip(scored.task, scored.value, strict=True)) == {
        task: score.value for task, score in run.results.tasks.items()
    }
    assert set(scored.score) == {final.score}
    for row in frame.itertuples():
        epoch = run.results.epochs[row.epoch - 1]
        assert row.loss == epoch.losses[row.task]
        assert row.examples == epoch.utilisation[row.task].examples
        assert row.seconds == epoch.seconds


@pytest.mark.parametrize("task", ["sst", "sts"])
def test_predictions_are_the_files(run: Run, task: str) -> None:
    frame = run.predictions(task)
    with run.folder.predictions(task).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert list(frame.columns) == header
    texts = len(header) - 3
    for found, row in zip(frame.itertuples(index=False), rows, strict=True):
        assert list(found[:texts]) == row[:texts]
        assert found.label == float(row[-3])
        assert found.prediction == float(row[-2])
        sure = float(row[-1]) if row[-1] else math.nan
        assert found.confidence == pytest.approx(sure, nan_ok=True)


def test_texts_that_look_like_nothing_stay_texts(run: Run, tmp_path: Path) -> None:
    place = tmp_path / "run"
    shutil.copytree(run.path, place)
    rows = 'nan,"NA",1,0,0.5\n1,"",2,2,\n' * 20
    head = "id,text,label,prediction,confidence\n"
    (place / "predictions" / "sst.csv").write_text(head + rows, "utf-8")
    frame = Run.open(place).predictions("sst")
    assert frame[["id", "text"]].values.tolist() == [["nan", "NA"], ["1", ""]] * 20
    assert frame.confidence.isna().tolist() == [False, True] * 20


@pytest.mark.parametrize("task", ["sst", "sts"])
def test_it_answers_new_texts_as_it_did_the_dev_set(run: Run, task: str) -> None:
    before = run.predictions(task)
    columns = [before[name] for name in ("text", "text2") if name in before]
    texts = list(columns[0]) if len(columns) == 1 else list(zip(*columns, strict=True))
    found = run.predict(task, texts)
    assert found.prediction.tolist() == pytest.approx(before.prediction.tolist(), abs=1e-5)
    assert found.confidence.tolist() == pytest.approx(
        before.confidence.tolist(), abs=1e-5, nan_ok=True
    )
    if task == "sst":
        names = run.settings.tasks["sst"]["head"]["names"]
        assert found.name.tolist() == [names[int(number)] for number in found.prediction]
    else:
        assert found.name.isna().all()
    assert list(run.predict(task, [])) == list(found)


def test_what_cannot_be_is_a_line(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        Run.open(tmp_path)
    assert_tells(error.value, str(tmp_path))
    for work in (lambda: run.predictions("qqp"), lambda: run.predict("qqp", ["a"])):
        with pytest.raises(UserError) as error:
            work()
        assert_tells(error.value, "task")
    for task, text in (("sts", "alone"), ("sst", ("a", "pair"))):
        with pytest.raises(UserError) as error:
            run.predict(task, [text])  # type: ignore[list-item]
        assert_tells(error.value, "texts")
    shutil.copytree(run.path, tmp_path / "run")
    for name in ("checkpoints/best.ckpt", "predictions/sst.csv"):
        (tmp_path / "run" / name).unlink()
    broken = Run.open(tmp_path / "run")
    with pytest.raises(UserError) as error:
        broken.predictions("sst")
    assert_tells(error.value, "sst.csv")
    with pytest.raises(UserError) as error:
        broken.predict("sst", ["a"])
    assert_tells(error.value, "best.ckpt")
    assert len(Run.open(tmp_path / "run", "last").predict("sst", ["a"])) == 1


def test_numbers_need_no_torch(run: Run) -> None:
    code = (
        "import sys\nfrom mtl_bert.inference.opened import Run\n"
        f"run = Run.open({str(run.path)!r})\n"
        "assert len(run.metrics()) and len(run.predictions('sst'))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_run_is_not_scored_without_epochs(tmp_path: Path) -> None:
    train_here(tmp_path / "run", "sampler=random")
    frame = Run.open(tmp_path / "run").metrics()
    assert isinstance(frame, pd.DataFrame)
    assert frame.empty
    assert "value" in frame


@pytest.mark.parametrize("task", ["../../secret", "/etc/passwd", "../predictions/../../x"])
def test_no_task_leads_out_of_the_folder(tmp_path: Path, task: str) -> None:
    with pytest.raises(UserError) as error:
        RunFolder(tmp_path / "run").predictions(task)
    assert_tells(error.value, "elsewhere")


def test_wandb_may_link_its_own_logs_and_nobody_all_of_wandb(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = RunFolder(tmp_path / "run")
    (folder.path / "wandb").mkdir(parents=True)
    (folder.path / "wandb" / "debug.log").symlink_to(tmp_path / "elsewhere")
    (folder.path / "newest").symlink_to("wandb")
    folder.refuse_links()
    (folder.path / "wandb" / "debug.log").unlink()
    (folder.path / "wandb").rmdir()
    (folder.path / "wandb").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError) as error:
        folder.refuse_links()
    assert_tells(error.value, "elsewhere")


def test_a_saved_tokenizer_pads_at_the_end_whatever_its_class_does(tmp_path: Path) -> None:
    save_tokenizer(TINY.tokenizer(), tmp_path)
    told = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    assert told["padding_side"] == "right"


def test_half_a_character_is_no_text(run: Run) -> None:
    with pytest.raises(UserError, match=r"texts: expected text, found .* half a character"):
        run.predict("sst", ["fine", "\ud83d"])
