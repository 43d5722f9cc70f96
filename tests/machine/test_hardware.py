"""What is taken of the machine where settings leave it open; a GPU is pretended."""

import os
import platform
from pathlib import Path

import pytest
import torch

from mtl_bert.machine import hardware
from mtl_bert.machine.hardware import (
    on_gpu,
    resolved,
    return_freed_memory,
    usable_memory,
    usable_threads,
    wants_packing,
)
from tests.composing import settings_of


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)


def test_a_cpu_keeps_32_bits_and_leaves_padding_out() -> None:
    settings = resolved(settings_of("trainer=auto"))
    assert settings.trainer.precision == "32-true"
    assert wants_packing(settings.trainer)
    assert settings.plain()["trainer"]["precision"] == "32-true"  # what a resumed run is told


@pytest.mark.usefixtures("gpu")
def test_a_gpu_takes_bf16_and_keeps_padding() -> None:
    settings = resolved(settings_of("trainer=auto"))
    assert settings.trainer.precision == "bf16-mixed"
    assert not wants_packing(settings.trainer)
    assert wants_packing(settings_of("trainer.packing=true").trainer)
    assert not on_gpu("cpu")


@pytest.mark.usefixtures("gpu")
def test_a_gpu_without_bf16_keeps_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert resolved(settings_of("trainer=auto")).trainer.precision == "32-true"


@pytest.mark.usefixtures("gpu")
def test_a_precision_that_was_chosen_stays() -> None:
    settings = settings_of("trainer=auto", "trainer.precision=64-true")
    assert resolved(settings) is settings
    assert resolved(settings_of()).trainer.precision == "32-true"


@pytest.mark.parametrize(
    ("limit", "threads"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1)],
)
def test_a_containers_share_of_the_processors_limits_threads(
    limit: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    (tmp_path / "cpu.max").write_text(f"{limit}\n")
    assert usable_threads(tmp_path) == threads


@pytest.mark.parametrize(("quota", "threads"), [("-1", 8), ("300000", 3)])
def test_the_same_in_older_containers(
    quota: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_threads(tmp_path) == threads


def test_without_a_container_torch_chooses(tmp_path: Path) -> None:
    assert usable_threads(tmp_path / "none") == torch.get_num_threads()


LARGE = 9223372036854771712  # what version 1 writes for no limit


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/", {"memory.max": "3000000"}, 3_000_000),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/", {}, None),
        # A batch system's job, some levels deep: the smallest of all that it is part of.
        (
            "0::/system.slice/job_7/step_0",
            {
                "system.slice/memory.max": "9000000",
                "system.slice/job_7/memory.max": "4000000",
                "system.slice/job_7/step_0/memory.max": "max",
                "system.slice/job_8/memory.max": "1000000",
            },
            4_000_000,
        ),
        ("5:memory:/\n3:cpu:/", {"memory/memory.limit_in_bytes": "5000000"}, 5_000_000),
        ("5:memory:/", {"memory/memory.limit_in_bytes": str(LARGE)}, None),
        # Inside a container version 1 names the host's path, which is not there.
        ("5:memory:/docker/abc", {"memory/memory.limit_in_bytes": "6000000"}, 6_000_000),
        (
            "5:memory:/a\n0::/",
            {
                "memory/a/memory.limit_in_bytes": "7000000",
                "memory/memory.limit_in_bytes": str(LARGE),
            },
            7_000_000,
        ),
    ],
)
def test_memory_is_what_the_container_or_the_job_may_use(
    own: str, limits: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    (tmp_path / "own").write_text(f"{own}\n")
    for name, text in limits.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(f"{text}\n")
    found = usable_memory(tmp_path / "cgroup", tmp_path / "own")
    assert found == (expected or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def test_what_was_chosen_is_said_in_a_line() -> None:
    line = hardware.in_words(settings_of("trainer.devices=2"), "some GPU", packs=False)
    assert line == "on some GPU: 2 processes, precision 32-true, padded batches"


X86 = {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False, "num_logical_cores": 2}


@pytest.mark.parametrize(
    ("precision", "told", "slow"),
    [
        ("bf16-mixed", X86, True),
        ("32-true", X86, False),
        ("bf16-mixed", X86 | {"avx512_bf16": True}, False),
        ("bf16-mixed", {"neon": True, "bf16": True}, False),
        ("bf16-mixed", {}, False),  # nobody knows
    ],
)
def test_a_processor_without_bf16_is_told_of(
    monkeypatch: pytest.MonkeyPatch, precision: str, told: dict[str, object], slow: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    line = hardware.in_words(settings_of(f"trainer.precision={precision}"), "a CPU", packs=True)
    assert line.endswith("trainer.precision=32-true is faster") == slow


def test_bf16_on_a_GPU_is_no_matter_of_the_processor(  # noqa: N802 - an abbreviation
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: X86, raising=False)
    line = hardware.in_words(settings_of("trainer.precision=bf16-mixed"), "a GPU", packs=False)
    assert line == "on a GPU: precision bf16-mixed, padded batches"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_goes_back() -> None:
    """Pieces below the size that glibc maps on its own, kept apart by small ones that live on."""
    small, pieces = [], []
    for _ in range(1000):
        pieces.append(bytearray(100_000))
        small.append(bytearray(1000))
    held = resident()  # where the small ones fit into older gaps, clearing alone gives it back
    pieces.clear()
    return_freed_memory()
    assert held - resident() > 80_000_000
    assert len(small) == 1000


def resident() -> int:
    """Bytes of this process that lie in memory."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
