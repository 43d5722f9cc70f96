"""A seed is a run: the same bits again, in this process or another."""

import hashlib
from pathlib import Path

import torch

from tests.cli.driving import results_in, train_here

AS_TRAINED = ("epochs=2", "B=16")


def fingerprint(directory: Path) -> str:
    """The sha256 of a run's last weights, names and shapes included."""
    path = directory / "checkpoints" / "last.ckpt"
    state = torch.load(path, weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def test_one_seed_gives_one_run_and_another_seed_another(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(12345)  # whatever happened before in this process
    again = train_here(tmp_path / "again", *AS_TRAINED)
    other = train_here(tmp_path / "other", *AS_TRAINED, "seed=2")
    assert fingerprint(trained) == fingerprint(tmp_path / "again")
    assert fingerprint(trained) != fingerprint(tmp_path / "other")
    for task in ("sst.csv", "sts.csv"):
        first, second = (d / "predictions" / task for d in (trained, tmp_path / "again"))
        assert first.read_bytes() == second.read_bytes()
    before = results_in(trained)
    assert [e.tasks for e in before.epochs] == [e.tasks for e in again.epochs]
    assert [e.losses for e in before.epochs] == [e.losses for e in again.epochs]
    assert [e.losses for e in before.epochs] != [e.losses for e in other.epochs]
