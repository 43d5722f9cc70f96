"""A report is made where neither torch nor the configuration's libraries are to be had."""

import subprocess
import sys
from pathlib import Path

from tests.analysis.factory import Made, make_run

BLOCKED = ("torch", "lightning", "hydra", "omegaconf", "transformers", "torchmetrics", "wandb")
SCRIPT = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from mtl_bert.report import main
main(sys.argv[1:])
"""


def test_a_report_needs_none_of_what_trains(tmp_path: Path) -> None:
    make_run(tmp_path / "run", Made(sampler="random", predictions=False))
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "report" / "index.html").is_file()
