"""What runs on a GPU in one command runs here, too, at no size."""

import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as gpu


def test_all_parts_run_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--device", "cpu", "--smoke", "--jobs", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    gpu.main()
    said = (tmp_path / "summary.txt").read_text("utf-8")
    assert "Traceback" not in said
    assert "PCGrad, one pass" in said
    assert "failed" not in said
    with tarfile.open(tmp_path / "tables.tar.xz") as archive:
        (name,) = archive.getnames()
    assert name.startswith("rr-")


def test_without_a_gpu_it_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "out")])
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as end:
        gpu.main()
    assert end.value.code == 2
    assert "expected a GPU, found none; write --device cpu --smoke" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
