"""``-m``: one run after another, each on its own, whatever becomes of the others."""

import json
from pathlib import Path
from typing import Any

import pytest

from mtl_bert import running
from mtl_bert.settings import Settings
from tests.cli.driving import SMALL, Command, program, results_in


def test_every_combination_is_a_run_of_its_own(tmp_path: Path) -> None:
    ended = program("train", "-m", *SMALL, "sampler=rr,arrp", "B=8", "seed=1,2", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    runs = {path.parent for path in (tmp_path / "runs").rglob("results.json")}
    assert {run.name for run in runs} == {
        "0-rr-seed1",
        "1-rr-seed2",
        "2-arrp-seed1",
        "3-arrp-seed2",
    }
    assert len({run.parent for run in runs}) == 1
    weights = set()
    for run in runs:
        results = results_in(run)
        assert run.name.endswith(f"{results.config['sampler']['name']}-seed{results.seed}")
        assert (run / "checkpoints" / "best.ckpt").is_file()
        log = (run / "train.log").read_text("utf-8")
        assert log.count("run in ") == 1  # and nothing of its neighbours
        assert str(run) in log
        weights.add(json.dumps(results.epochs[0].losses))
    assert len(weights) == 4


def test_a_job_that_is_refused_does_not_stop_the_others(command: Command, tmp_path: Path) -> None:
    overrides = ["freeze=none,[nope],all_but_head", "hydra.sweep.dir=sweep"]
    outcome = command("train", "-m", *SMALL, *overrides)
    assert outcome.code == 2
    assert "job 1 failed: freeze: expected patterns of parameter names, found 'nope'" in outcome.err
    assert "Traceback" not in outcome.err
    jobs = sorted(path.parent.name for path in (tmp_path / "sweep").rglob("results.json"))
    assert jobs == ["0-arrp-seed1", "2-arrp-seed1"]
    assert not (tmp_path / "sweep" / "1-arrp-seed1").exists()


def test_a_job_that_crashes_does_not_stop_the_others(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    real = running.collect

    def collect(settings: Settings, *rest: Any) -> Any:
        if settings.seed == 2:
            raise RuntimeError("the disk is gone")
        return real(settings, *rest)

    monkeypatch.setattr(running, "collect", collect)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        command("train", "-m", *SMALL, "seed=1,2,3", "hydra.sweep.dir=sweep")
    assert "job 1 failed: the disk is gone" in capsys.readouterr().err
    jobs = sorted(path.parent.name for path in (tmp_path / "sweep").rglob("results.json"))
    assert jobs == ["0-arrp-seed1", "2-arrp-seed3"]


def test_a_choice_that_does_not_exist_stops_all_before_the_first(
    command: Command, tmp_path: Path
) -> None:
    outcome = command("train", "-m", *SMALL, "sampler=rr,nope")
    assert outcome.code == 2
    assert outcome.err.startswith("sampler: expected one of annealed, arrp")
    assert not list(tmp_path.rglob("results.json"))
