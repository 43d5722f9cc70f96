"""Runs that several tests look at, and commands in the test's own process."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtl_bert.__main__ import main
from mtl_bert.config.compose import CONF, PLACES
from tests.cli.driving import SMALL, Command, Outcome, program


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """``command("train", "seed=2")``: the command line in this process, working in tmp_path."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = root.level, list(root.handlers)

    def run(module: str, *arguments: str) -> Outcome:
        code: object = 0
        try:
            main([module, *arguments])
        except SystemExit as end:
            code = end.code
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    yield run
    # Hydra has pointed the log at a stream that is this test's only.
    root.level, root.handlers[:] = before
    PLACES[:] = [CONF]  # a process has one command, with its --config-dir


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that was started from the command line."""
    cwd = tmp_path_factory.mktemp("trained")
    ended = program("train", *SMALL, "epochs=2", "B=16", "hydra.run.dir=run", cwd=cwd)
    assert ended.code == 0, ended.err
    assert "run written to" in ended.out
    return cwd / "run"
