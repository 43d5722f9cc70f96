"""The commands of the comparison on real text are the runs that its report tells of."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from mtl_bert.analysis import paper
from mtl_bert.config.compose import CONF, read_job_settings
from mtl_bert.config.run_key import identity
from mtl_bert.config.settings import Settings
from mtl_bert.jobs.hydra_callback import _jobs
from mtl_bert.runs.methods import method_of

SCRIPT = Path(__file__).parents[1] / "experiments" / "evidence.sh"
SIZES = {"sst": 854, "qqp": 5219, "sts": 604}  # a tenth of the course's files
SAMPLERS_OF_ALL = ("annealed", "vanilla")


def carried_out(place: Path, *more: str, status: int = 0) -> tuple[int, list[list[str]]]:
    """The exit code, and the commands that were given to Python."""
    python, said = place / "python", place / "said"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "" >> "{said}"\nexit {status}\n')
    python.chmod(0o755)
    ended = subprocess.run([SCRIPT, python, "DATA", "ENCODER", "out", *more], check=False)
    commands = [block.splitlines() for block in said.read_text().split("\n\n") if block]
    return ended.returncode, commands


def settings_in(command: list[str]) -> Iterator[Settings]:
    """Those of each job of a multirun with seed 1; two more seeds are asked for."""
    assert command[:3] == ["-m", "mtl_bert.train", "-m"]
    (seed,) = (place for place, word in enumerate(command) if word.startswith("seed="))
    assert command[seed] == "seed=1,2,3"
    command = [*command[:seed], "seed=1", *command[seed + 1 :]]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        config = hydra.compose_config("train", command[3:], RunMode.MULTIRUN)
        for job in _jobs(config):
            yield read_job_settings(compose("train", list(job.overrides)))[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Settings]]:
    """Subfolder -> a run's identity -> its settings."""
    code, commands = carried_out(tmp_path_factory.mktemp("evidence"))
    assert code == 0
    *sweeps, report = commands
    assert report == ["-m", "mtl_bert.report", "out/tables", "out/ratios", "--out", "out/report"]
    found: dict[str, dict[str, Settings]] = {}
    for command in sweeps:
        (folder,) = (part for part in command if part.startswith("hydra.sweep.dir="))
        own = found.setdefault(folder.rpartition("/")[2], {})
        own |= {identity(settings): settings for settings in settings_in(command)}
    return found


def test_every_published_row_is_run_with_three_seeds(
    runs: dict[str, dict[str, Settings]],
) -> None:
    methods = [(method_of(s.plain()), s) for s in runs["tables"].values()]
    for row in paper.ROWS:
        own = [s for m, s in methods if row.is_of(m) and (s.epochs == 1) == (row.table == 3)]
        assert sorted(s.seed for s in own) == [1], row
    # 19 different rows, single-task models, and λ at five more places.
    assert len(runs["tables"]) == 19 + 1 + 5
    assert {s.trainer.check_val_every_n_epoch for s in runs["tables"].values()} == {2}


def test_B_is_scaled_by_the_share_of_the_data(  # noqa: N802 - the paper's letter
    runs: dict[str, dict[str, Settings]],
) -> None:
    whole = {task: size.train for task, size in paper.SIZES.items()}
    for settings in runs["tables"].values():
        if settings.B is None:
            continue
        union = str(settings.sampler["name"]) in SAMPLERS_OF_ALL
        ours, theirs = (sum(sizes.values()) if union else sizes["qqp"] for sizes in (SIZES, whole))
        assert settings.B_scale == pytest.approx(ours / theirs, rel=1e-4)
        assert settings.data.share == 0.1


def test_ratios_of_three_sizes(runs: dict[str, dict[str, Settings]]) -> None:
    own = list(runs["ratios"].values())
    assert len(own) == 5 * 3
    assert {s.data.imbalance for s in own} == {1, 10, 100}
    assert {(s.data.limit, s.B) for s in own} == {(1000, None)}


def test_a_stop_stops_all(tmp_path: Path) -> None:
    code, commands = carried_out(tmp_path, status=75)
    assert (code, len(commands)) == (75, 1)


def test_a_failure_lets_the_others_go_on_and_is_the_end(tmp_path: Path) -> None:
    code, commands = carried_out(tmp_path, "hydra/launcher=joblib", status=2)
    assert code == 2
    assert commands[-1][1] == "mtl_bert.report"
    assert all("hydra/launcher=joblib" in command for command in commands[:-1])
