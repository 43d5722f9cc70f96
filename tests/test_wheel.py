"""The package as others install it: with its configuration and vocabulary, from any directory."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling is not installed"
)


def run(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended


PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is made of, so that the checkout stays untouched."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("mtl_bert", "conf"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    run(*PIP, "wheel", "--no-build-isolation", "--no-deps", "-w", str(out), ".", cwd=source)
    (built,) = out.glob("mtl_bert-*.whl")
    return built


def test_all_that_the_program_reads_is_inside(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    configuration = {f"mtl_bert/{p.relative_to(ROOT)}" for p in (ROOT / "conf").rglob("*.yaml")}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "mtl_bert").rglob("*.py")}
    assert len(configuration) > 20
    assert configuration - inside == set()
    assert modules - inside == set()
    assert "mtl_bert/model/tiny/vocab.txt" in inside
    assert "mtl_bert/analysis/templates/page.html.j2" in inside
    assert "mtl_bert/analysis/claims.toml" in inside
    assert not [name for name in inside if name.startswith(("conf/", "tests/"))]


def test_it_runs_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    install = ("install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    run(*PIP, *install, cwd=tmp_path)
    sizes = "plan.sizes={sts: 6040, sst: 8544, qqp: 283010}"
    plan = (sizes, "sampler=rr", "epochs=1", "batch_size=8")
    shown = run("-m", "mtl_bert.plan", *plan, cwd=here, PYTHONPATH=str(site)).stdout
    assert any("755" in line and "6,040" in line and "100.0" in line for line in shown.splitlines())
    # It is not the checkout that has answered; and the vocabulary has come along.
    script = (
        "from mtl_bert import cache; from mtl_bert.config.compose import CONF;"
        "from mtl_bert.model.encoder import Tiny;"
        "print(cache.__file__, CONF, len(Tiny().tokenizer()) > 100)"
    )
    found = run("-c", script, cwd=here, PYTHONPATH=str(site)).stdout.split()
    assert found == [str(site / "mtl_bert" / "cache.py"), str(site / "mtl_bert" / "conf"), "True"]
