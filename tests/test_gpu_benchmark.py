"""What runs on a GPU in one command runs here, too, at no size."""

import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import carry, tables


def test_all_parts_run_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--device", "cpu", "--smoke", "--jobs", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments])
    with pytest.raises(SystemExit) as end:
        gpu.main()
    assert end.value.code == 0
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


def test_when_the_time_is_over_no_further_seed_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_until", lambda *_: 75)
    told, worked = tables.tables(
        "cpu", tmp_path, smoke=False, limit=0.0, jobs=1, data="DATA", encoder="ENCODER"
    )
    assert told == "Table 2, seed 1: exit code 75"
    assert worked
    monkeypatch.setattr(tables, "_until", lambda *_: 2)
    told, worked = tables.tables(
        "cpu", tmp_path, smoke=False, limit=60.0, jobs=1, data="DATA", encoder="ENCODER"
    )
    assert told == "Table 2, seed 1: exit code 2"  # the same would be refused again
    assert not worked


def test_ctrl_c_stops_the_sweep_too(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    sweep = (
        "import signal, sys, time, pathlib; signal.signal(signal.SIGTERM, "
        f"lambda *_: (pathlib.Path({str(saved)!r}).touch(), sys.exit(75))); "
        "print(flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    program = (
        "import signal, sys, time, pathlib\nfrom benchmarks.gpu.tables import _until\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's & ignores it
        f"_until(time.perf_counter() + 60, [sys.executable, '-c', {sweep!r}], "
        f"pathlib.Path({str(log)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as process:
        while not (log.exists() and log.stat().st_size):  # the sweep listens
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait() != 0
    assert saved.exists()


def test_a_carried_encoder_is_the_same_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "from", tmp_path / "to"
    (source / "1_Pooling").mkdir(parents=True)
    weights = {"w": torch.tensor([0.1, 2.0]), "ids": torch.tensor([3])}
    save_file(weights, source / "model.safetensors")
    (source / "config.json").write_text("{}", "utf-8")
    (source / "pytorch_model.bin").write_bytes(b"left behind")
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}', "utf-8")
    carry.main([str(source), str(target)])
    assert {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()} == {
        "model.safetensors", "config.json", "1_Pooling/config.json",
    }  # fmt: skip
    carried = load_file(target / "model.safetensors")
    assert carried["w"].equal(weights["w"].half())
    assert carried["ids"].equal(weights["ids"])
    for words, said in (
        ([str(source), str(target)], f"TO: expected a new folder, found {target}"),
        ([str(tmp_path / "none"), str(tmp_path / "x")], "FROM: expected an encoder with *.safet"),
    ):
        with pytest.raises(SystemExit) as end:
            carry.main(words)
        assert end.value.code == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
