"""Draw the README's figure from the published runs: ``python experiments/readme_figure.py``.

It shows one row of each sampler, those of the paper's Tables 2 and 4 that ran on one machine.
"""

import sys
import tarfile
import tempfile
from pathlib import Path

from mtl_bert import analysis

HERE = Path(__file__).parent
OUT = HERE.parent / "docs" / "assets" / "tradeoff.svg"
SHOWN = (
    "RR", "ARRP λ=0.5 B=443", "ARRP λ=0.1 B=1,844", "annealed B=1,256", "vanilla B=1,256",
    "full finetuning",
)  # fmt: skip


def main(out: Path = OUT) -> None:
    """Unpack the published runs, choose the methods, draw."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(HERE / "results" / "runs.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        frames = analysis.read(Path(folder, "tables"))
        largest = frames.runs["setting"].value_counts().idxmax()
        own = frames.of(largest)[0].runs
        runs = own[own["method"].isin(SHOWN)]
        missing = {*SHOWN} - {*runs["method"]}
        if missing:
            sys.exit(f"expected the methods {SHOWN}, found none called {missing}")
        chart = analysis.figure.tradeoff(runs, setting=largest)
        chart.properties(background="white").save(out)


if __name__ == "__main__":
    main()
