"""The second study's runs: python experiments/study2.py DIR ENCODER FOLDER [--jobs 2].

What is run and why stands in study2.md, each cell's settings below conf/experiment/study2. Here is
what depends on runs that came before: the learning rate of each cell, chosen among those that were
tried on a seed that stands in no table. Stopped or killed, the same command goes on.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from mtl_bert.runs.results import Results, RunFolder

SAMPLERS = ("rr", "proportional", "temperature", "unimax", "annealed", "two_stage", "arrp")
SURGERIES = ("none", "pcgrad_paper")
RATES = ("1e-4", "3e-4", "1e-3")
TUNING_SEED = "seed=101"
SEEDS = "seed=11,12,13,14,15,16,17"
STAGES = ("seed=11,12", "seed=13,14", "seed=15,16,17")
"""Of the factorial: every cell has as many seeds whenever one ends."""
FEWER_SEEDS = "seed=11,12,13,14,15"
SINGLE_SEEDS = "seed=11,12,13"
SMALL = 1740  # examples of SST and of STS on the ladder: a thirtieth of the Quora pairs
PUBLISHED = Path(__file__).parent / "results" / "study2"

Cell = tuple[str, str]
Sweep = tuple[str, list[str]]
"""A folder below the study's, and the words of a multirun."""


def tuning() -> Iterator[Sweep]:
    """Every cell with every rate, once."""
    cells = f"+experiment/study2={','.join(SAMPLERS)}", f"surgery={','.join(SURGERIES)}"
    yield "tuning", [*cells, f"lr={','.join(RATES)}", TUNING_SEED]


def factorial(rates: Mapping[Cell, str]) -> Iterator[Sweep]:
    """Every cell with its rate: those that share one go together."""
    for seeds, surgery, rate in product(STAGES, SURGERIES, RATES):
        samplers = [name for name in SAMPLERS if rates[name, surgery] == rate]
        if samplers:
            cells = f"+experiment/study2={','.join(samplers)}", f"surgery={surgery}"
            yield "factorial", [*cells, f"lr={rate}", seeds]


def frontier(rates: Mapping[Cell, str]) -> Iterator[Sweep]:
    """Static mixtures without surgery; temperature 2 is in the factorial."""
    rate = rates["temperature", "none"]
    cell = "+experiment/study2=temperature", "surgery=none", f"lr={rate}"
    yield "factorial", [*cell, "sampler.temperature=1,5,inf", SEEDS]


def lambda_and_b(rates: Mapping[Cell, str]) -> Iterator[Sweep]:
    """Two penalties at each of two B; one of the four is in the factorial."""
    cell = "+experiment/study2=arrp", "surgery=pcgrad_paper", f"lr={rates['arrp', 'pcgrad_paper']}"
    yield "factorial", [*cell, "B=2190", "lambda=0.1", SEEDS]
    yield "factorial", [*cell, "B=8760", "lambda=0.1,0.5", SEEDS]


def frozen(rates: Mapping[Cell, str]) -> Iterator[Sweep]:
    """F=1; F=0 is in the factorial."""
    cell = "+experiment/study2=arrp", "surgery=pcgrad_paper", f"lr={rates['arrp', 'pcgrad_paper']}"
    yield "factorial", [*cell, "freeze=all_but_head", SEEDS]


def ladder(rates: Mapping[Cell, str]) -> Iterator[Sweep]:
    """The large task grows, the small ones stay."""
    for times in (1, 3, 10, 30):
        limit = f"data.limit={{sst: {SMALL}, sts: {SMALL}, qqp: {SMALL * times}}}"
        more = SMALL * (times - 1) // 4  # of the large task, beside what round-robin takes
        B = {"rr": SMALL, "arrp": max(1, more)}
        for sampler in ("rr", "annealed", "temperature", "arrp"):
            rate = rates[sampler, "pcgrad_paper"]
            cell = f"+experiment/study2={sampler}", "surgery=pcgrad_paper", f"lr={rate}"
            equal = f"B={B.get(sampler, SMALL + more // 3)}"
            yield f"ladder-{times}", [*cell, limit, equal, FEWER_SEEDS]


def single(rates: Mapping[Cell, str]) -> Iterator[Sweep]:
    """A model for each task."""
    rate = rates["rr", "none"]
    cell = "+experiment/study2=rr", "sampler=single", "B=null", f"lr={rate}"
    yield "factorial", [*cell, SINGLE_SEEDS]


PARTS = {
    "factorial": factorial, "frontier": frontier, "lambda": lambda_and_b, "freeze": frozen,
    "ladder": ladder, "single": single,
}  # fmt: skip


def chosen_rates(runs: Sequence[Results]) -> dict[Cell, str]:
    """Each cell's rate whose best epoch scored highest on the dev examples that choose.

    Raises:
        ValueError: a cell of which a rate has not been tried.
    """
    best: dict[Cell, dict[str, float]] = {}
    for run in runs:
        method = run.config["surgery"]["method"]["_target_"].rpartition(".")[2]
        surgery = {"Sum": "none", "PCGrad": "pcgrad_paper"}[method]
        name = run.config["sampler"]["name"].replace("vanilla", "proportional")
        scores = [epoch.score for epoch in run.epochs if epoch.score is not None]
        best.setdefault((name, surgery), {})[f"{run.config['lr']:g}"] = max(scores)
    rates = {f"{float(rate):g}": rate for rate in RATES}
    for cell in ((sampler, surgery) for sampler in SAMPLERS for surgery in SURGERIES):
        if best.get(cell, {}).keys() != rates.keys():
            raise ValueError(
                f"tuning: expected {', '.join(RATES)} of {cell}, found {best.get(cell)}"
            )
    return {cell: rates[max(found, key=lambda rate: found[rate])] for cell, found in best.items()}


def finished(folder: Path) -> list[Results]:
    """The runs that a sweep's folder holds."""
    places = sorted(path.parent for path in folder.glob("*/results.json"))
    return [RunFolder(place).read_results() for place in places]


def main() -> None:
    """Run the parts in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of the course's files")
    parser.add_argument("encoder", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("folder", type=Path, help="where runs go")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for every run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--parts", default=",".join(PARTS), help="of those after the tuning")
    options = parser.parse_intermixed_args()
    # A sweep is looked at as a whole first, without what its jobs choose.
    places = f"data.dir={options.data}", f"model.path={options.encoder}"
    given = ["data=cs224n", "model=local", *places, *options.overrides]
    if options.jobs > 1:
        given += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={options.jobs}"]

    def carry_out(sweeps: Iterator[Sweep]) -> None:
        for place, words in sweeps:
            where = f"hydra.sweep.dir={options.folder / place}"
            command = [sys.executable, "-m", "mtl_bert.train", "-m", *words, *given, where]
            if status := subprocess.run(command, check=False).returncode:
                sys.exit(status)

    carry_out(tuning())
    rates = chosen_rates(finished(options.folder / "tuning"))
    for (sampler, surgery), rate in rates.items():
        print(f"{sampler}, {surgery}: lr={rate}")
    for part in options.parts.split(","):
        carry_out(PARTS[part](rates))
        report = [sys.executable, "-m", "mtl_bert.report", str(options.folder)]
        subprocess.run([*report, "--publish", "--out", str(PUBLISHED)], check=False)


if __name__ == "__main__":
    main()
