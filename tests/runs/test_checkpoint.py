import zipfile
from pathlib import Path

import pytest
import torch

from mtl_bert.runs import checkpoint
from mtl_bert.runs.checkpoint import CheckpointError
from mtl_bert.runs.results import RunFolder
from mtl_bert.utils.errors import UserError
from tests.factories import assert_tells

RUN = "rr-seed1-0a1b2c3d"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run with two checkpoints, numbered 1 and 2."""
    for number in (1, 2):
        checkpoint.write_last(
            RunFolder(tmp_path),
            RUN,
            {"position": (1, 0), "number": number, "weights": torch.arange(1000.0)},
        )
    return tmp_path


def last(run: Path) -> Path:
    return run / "checkpoints" / "last.ckpt"


def test_the_newest_is_taken(run: Path) -> None:
    found = checkpoint.newest(RunFolder(run), RUN)
    assert found is not None
    assert found["number"] == 2
    assert torch.equal(found["weights"], torch.arange(1000.0))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-100], lambda data: b"", lambda data: b"PK and other things", flipped],
    ids=["truncated", "empty", "foreign", "one bit"],
)
def test_a_damaged_one_gets_a_line_and_the_one_before_is_taken(
    run: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    last(run).write_bytes(damage(last(run).read_bytes()))  # type: ignore[operator]
    found = checkpoint.newest(RunFolder(run), RUN)
    assert found is not None
    assert found["number"] == 1
    (record,) = caplog.records
    assert_tells(record.getMessage(), str(last(run)))


def test_none_that_is_good_is_an_error(run: Path) -> None:
    last(run).write_bytes(b"")
    last(run).with_name("previous.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError) as error:
        checkpoint.newest(RunFolder(run), RUN)
    assert_tells(error.value, "previous.ckpt")


def test_none_at_all_is_none(tmp_path: Path) -> None:
    assert checkpoint.newest(RunFolder(tmp_path), RUN) is None


class Anything:
    """What unpickling would have to be trusted with."""


def test_nothing_is_unpickled_but_data(run: Path) -> None:
    torch.save({"format": checkpoint.FORMAT, "code": Anything()}, last(run))
    with pytest.raises(CheckpointError, match="does not load"):
        checkpoint.read(last(run), RUN, "position")


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"format": 1}, {"format": 99}, [1, 2]])
def test_another_programs_is_refused(run: Path, content: object) -> None:
    torch.save(content, last(run))
    with pytest.raises(CheckpointError) as error:
        checkpoint.read(last(run), RUN, "position")
    assert_tells(error.value, str(last(run)))


def test_another_runs_is_refused_by_name_though_the_one_before_is_good(run: Path) -> None:
    torch.save(torch.load(last(run), weights_only=True) | {"run": "arrp-seed2-1"}, last(run))
    with pytest.raises(UserError) as error:
        checkpoint.newest(RunFolder(run), RUN)
    assert_tells(error.value, str(last(run)), RUN, "arrp-seed2-1")


def test_a_few_compressed_bytes_do_not_become_gigabytes(run: Path) -> None:
    parts = {}
    with zipfile.ZipFile(last(run)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(last(run), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="compressed"):
        checkpoint.read(last(run), RUN, "position")


def test_the_best_ones_weights_are_no_state_to_go_on_from(run: Path) -> None:
    checkpoint.write(last(run), RUN, {"state_dict": {}, "scores": "{}"})
    with pytest.raises(CheckpointError, match="with position"):
        checkpoint.read(last(run), RUN, "position")
