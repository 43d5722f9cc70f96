"""The second study's runs: python experiments/study2.py DIR ENCODER FOLDER [--jobs 2].

What is run and why stands in study2.md, each cell's settings below conf/experiment/study2. Here is
what depends on runs that came before: the learning rate of each cell, chosen among those that were
tried on a seed that stands in no table. Stopped or killed, the same command goes on.
"""

import argparse
import lzma
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mtl_bert.analysis import Frames, read, summaries
from mtl_bert.analysis.publishing import ARCHIVE
from mtl_bert.analysis.statistics import holm, paired
from mtl_bert.config.command_line import assignment
from mtl_bert.config.compose import read_job_settings
from mtl_bert.config.run_key import run_name
from mtl_bert.machine import signals
from mtl_bert.runs.methods import ALL_BUT_HEAD
from mtl_bert.runs.results import RESULTS, Results, RunFolder
from mtl_bert.utils.console import command_line
from mtl_bert.utils.errors import UserError, first_line
from mtl_bert.utils.files import write_text

SAMPLERS = ("rr", "proportional", "temperature", "unimax", "annealed", "two_stage", "arrp")
CELLS = tuple(name.replace("temperature", "temperature 2") for name in SAMPLERS)
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
RUNS = "runs"  # the folder of those that count, below the study's
TUNED, SECONDS = "rates.csv", "seconds.csv"
STATIC = ("proportional", "unimax", *(f"temperature {degree}" for degree in (1, 2, 5, "Infinity")))
MARGIN, ALPHA = 0.01, 0.05

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


def alone() -> Iterator[Sweep]:
    """Every cell for 100 joint steps, of which nothing but the time is looked at."""
    cells = f"+experiment/study2={','.join(SAMPLERS)}", f"surgery={','.join(SURGERIES)}"
    few = "B=400", "data.limit={sst: 400, sts: 400, qqp: 52191}"
    yield "alone", [*cells, *few, "lr=1e-4", TUNING_SEED]


def tables(_: Mapping[Cell, str]) -> Iterator[Sweep]:
    """Tables 2 and 4 by the paper's schedule: ten epochs, one rate, the same dev sets throughout.

    B is the share of the files that the paper's is of its own: of all of them, of the largest
    one's for ARRP.
    """
    few, some, most, arrp, more = (
        round(B * here / paper) for B, here, paper in (
            (16_000, 66_775, 297_594), (56_000, 66_775, 297_594), (80_000, 66_775, 297_594),
            (24_000, 52_191, 283_010), (100_000, 52_191, 283_010),
        )
    )  # fmt: skip
    common = (
        "model.pooling=mean", "model.layers=2", "lr=1e-4", "data.dev_limit={qqp: 2000}",
        "trainer.threads=1", "trainer.keep=none", "trainer.enable_progress_bar=false", "seed=1",
    )  # fmt: skip
    for table, rows, B in (
        (2, "annealed_16000,vanilla_16000", few), (2, "rr,random", "null"),
        (4, "arrp_f0_lambda05,arrp_f1_lambda05", arrp), (2, "annealed_56000,vanilla_56000", some),
        (4, "arrp_f0_lambda03,arrp_f0_lambda07,arrp_f1_lambda1", arrp),
        (4, "arrp_f0_lambda01_100000", more), (2, "annealed_80000", most), (2, "full", "null"),
    ):  # fmt: skip
        yield "tables", [f"+experiment/table{table}={rows}", f"B={B}", *common]


PARTS = {
    "factorial": factorial, "frontier": frontier, "lambda": lambda_and_b, "freeze": frozen,
    "ladder": ladder, "single": single, "tables": tables,
}  # fmt: skip


def tried_rates(runs: Sequence[Results]) -> dict[Cell, dict[str, float]]:
    """Each cell's rates, with the best epoch's score on the dev examples that choose.

    Raises:
        UserError: a cell of which a rate has not been tried.
    """
    found: dict[Cell, dict[str, float]] = {}
    for run in runs:
        method = run.config["surgery"]["method"]["_target_"].rpartition(".")[2]
        surgery = {"Sum": "none", "PCGrad": "pcgrad_paper"}[method]
        name = run.config["sampler"]["name"].replace("vanilla", "proportional")
        scores = [epoch.score for epoch in run.epochs if epoch.score is not None]
        found.setdefault((name, surgery), {})[f"{run.config['lr']:g}"] = max(scores)
    rates = {f"{float(rate):g}": rate for rate in RATES}
    for cell in product(SAMPLERS, SURGERIES):
        if found.get(cell, {}).keys() != rates.keys():
            tried = ", ".join(rates[rate] for rate in found.get(cell, ())) or "none"
            raise UserError(
                f"tuning: expected {', '.join(RATES)} tried with {', '.join(cell)}, found {tried}; "
                "write the same command again"
            )
    return {cell: {rates[r]: score for r, score in tried.items()} for cell, tried in found.items()}


def ended(folder: Path) -> list[Path]:
    """The folders of the runs below one that have ended."""
    return sorted(path.parent for path in folder.rglob("results.json"))


def counted(frames: Frames) -> pd.DataFrame:
    """The runs that the contrasts are about, with columns more.

    ``small`` is the mean of SST and STS alone, ``qqp`` Quora's score, ``chose`` the score by which
    the epoch was chosen.
    """
    return _measured(frames, "factorial/")


def laddered(frames: Frames) -> pd.DataFrame:
    """Each sampler minus round-robin on each rung of the ladder, paired over seeds; exploratory.

    Columns: times (as many Quora pairs as examples of SST and of STS), sampler, what (score, small
    or qqp), seeds, mean, low and high (95 %, paired t).
    """
    runs = _measured(frames, "ladder-")
    rungs = runs["run"].str.extract(r"^ladder-(\d+)/", expand=False).astype(int)
    found = []
    for times, rung in runs.groupby(rungs):
        for what in ("score", "small", "qqp"):
            values = rung.pivot_table(what, "seed", "sampler")
            for sampler in values.columns.drop("rr"):
                one = paired((values[sampler] - values["rr"]).dropna().to_numpy(), MARGIN)
                found.append((times, sampler, what, one.n, one.mean, *one.interval))
    names = ["times", "sampler", "what", "seeds", "mean", "low", "high"]
    return pd.DataFrame(found, columns=names)


def _measured(frames: Frames, place: str) -> pd.DataFrame:
    runs = frames.runs.astype({"run": str, "sampler": str})
    runs = runs[runs["run"].str.startswith(place) & ~runs["superseded"]]
    scores = frames.scores.astype({"run": str, "task": str})
    mapped = (scores["value"] - scores["lowest"]) / (scores["highest"] - scores["lowest"])
    small = mapped[scores["task"] != "qqp"].groupby(scores["run"]).mean()
    large = mapped[scores["task"] == "qqp"].groupby(scores["run"]).mean()
    chose = frames.epochs.astype({"run": str}).groupby("run")["epoch_score"].max()
    means = {"small": small, "qqp": large, "chose": chose}
    return runs.assign(**{name: runs["run"].map(values) for name, values in means.items()})


def cell(
    runs: pd.DataFrame, sampler: str, surgery: str = "PCGrad", what: str = "score", **more: Any
) -> pd.Series:
    """A cell's numbers, by seed; ``more`` is what else a cell of ARRP's differs in."""
    more |= {"B": 2190, "lambda_": 0.5, "frozen": ""} | more if sampler == "arrp" else {}
    name = sampler.replace("proportional", "vanilla").partition(" ")[0]
    wanted = (runs["sampler"] == name) & runs["surgery"].str.startswith(surgery)
    if sampler.startswith("temperature "):
        degree = f"temperature={sampler.split()[1]}"
        wanted &= runs["rest"].str.split(", ").map(lambda words: degree in words)
    for column, value in more.items():
        wanted &= runs[column] == value
    return runs[wanted].set_index("seed")[what].astype(float)


def judged(frames: Frames) -> pd.DataFrame:
    """The nine contrasts that the page names, over seeds that all their cells have.

    Columns: contrast, words, seeds, mean, low and high (95 %, paired t), p, p_holm, p_equivalent
    (two one-sided tests at the margin), verdict. All nine share Holm's correction from the first:
    one that has not run counts as p = 1.
    """
    of = partial(cell, counted(frames))

    def surgery_minus_sum(sampler: str) -> pd.Series:
        return of(sampler) - of(sampler, "Sum")

    def more_lambda(B: int) -> pd.Series:
        return of("arrp", B=B, lambda_=0.1) - of("arrp", B=B, lambda_=0.5)

    static = {name: of(name, "Sum", "chose") for name in STATIC}
    best = max(static, key=lambda name: np.nan_to_num(static[name].mean()))
    above = of(best, "Sum") - of("arrp")
    if not all(map(len, static.values())):
        best, above = "best static mixture", above[:0]
    frozen = of("arrp", what="small", frozen=" ".join(ALL_BUT_HEAD)) - of("arrp", what="small")
    contrasts = {
        "arrp − rr": of("arrp") - of("rr"),
        "annealed − arrp": of("annealed") - of("arrp"),
        "annealed − proportional": of("annealed") - of("proportional"),
        "PCGrad − sum": pd.DataFrame(map(surgery_minus_sum, CELLS)).mean(skipna=False),
        "(annealed − arrp) × (PCGrad − sum)":
            surgery_minus_sum("annealed") - surgery_minus_sum("arrp"),
        "arrp − two_stage": of("arrp") - of("two_stage"),
        f"{best} with sum − arrp": above,
        "freeze=all_but_head − none, SST and STS": frozen,
        "(λ 0.1 − λ 0.5) × (B 8,760 − B 2,190)": more_lambda(8760) - more_lambda(2190),
    }  # fmt: skip
    found = [paired(each.dropna().to_numpy(), MARGIN) for each in contrasts.values()]
    adjusted = holm([np.nan_to_num(each.p, nan=1.0) for each in found])

    def verdict(mean: float, p: float, p_equivalent: float) -> str:
        if np.isnan(mean):
            return "not run"
        if p < ALPHA:
            return "higher" if mean > 0 else "lower"
        return "equivalent" if p_equivalent < ALPHA else "undecided"

    return pd.DataFrame(
        {
            "contrast": f"C{number}", "words": words, "seeds": one.n, "mean": one.mean,
            "low": one.interval.low, "high": one.interval.high, "p": one.p, "p_holm": p,
            "p_equivalent": one.p_equivalent, "verdict": verdict(one.mean, p, one.p_equivalent),
        }
        for number, (words, one, p) in enumerate(zip(contrasts, found, adjusted, strict=True), 1)
    )  # fmt: skip


def unpack(archive: Path, runs: Path, data: Path, encoder: Path) -> None:
    """Put published runs where this machine's sweeps look for them; what is there stays.

    A run's name follows from its settings, where data and encoder lie among them. The archive has
    the last parts of those places.

    Raises:
        UserError: it is no archive of runs, or only a part of one; then nothing is written.
    """
    try:
        with tarfile.open(archive) as opened:
            content = {
                Path(entry.name): file.read().decode()
                for entry in opened
                if (file := opened.extractfile(entry)) is not None
            }
        if outside := [path for path in content if path.is_absolute() or ".." in path.parts]:
            raise ValueError(f"{outside[0]} leads out of it")
        found = {
            path.parent: Results.model_validate_json(text)
            for path, text in content.items()
            if path.name == RESULTS
        }
    except (EOFError, ValueError, tarfile.TarError, lzma.LZMAError) as error:
        raise UserError(
            f"{archive}: expected an archive of finished runs, found something else "
            f"({first_line(error)}); restore it, or write --out DIR for a study of your own"
        ) from error
    for place, results in found.items():
        config: Any = results.config
        here = {config["data"]["dir"]: str(data), config["model"]["path"]: str(encoder)}
        # JSON has a word for a temperature that is a number here.
        settings = read_job_settings(_replaced(config, {**here, "Infinity": np.inf}))[0]
        own = RunFolder(runs / place.parent / run_name(settings))
        if not own.results.exists():
            for path in (path for path in content if path.parent == place / "predictions"):
                write_text(own.path / "predictions" / path.name, content[path])
            write_text(own.results, content[place / RESULTS])  # last: it says that the run is whole


def _replaced(node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {key: _replaced(value, values) for key, value in node.items()}
    return values.get(node, node) if isinstance(node, str) else node


def publish(runs: Path, out: Path) -> int:
    """The report of what there is, and the contrasts; the report's exit code."""
    report = [sys.executable, "-m", "mtl_bert.report", str(runs), "--tuned", "lr"]
    if code := carried_out([*report, "--publish", "--out", str(out)]):
        return code
    frames = read(runs)
    verdicts = judged(frames)
    for name, found in {"contrasts": verdicts, "ladder": laddered(frames)}.items():
        write_text(out / f"{name}.csv", found.to_csv(index=False, float_format="%.4f"))
    print(verdicts.to_string(index=False))
    return 0


def carried_out(command: Sequence[str]) -> int:
    """A program's exit code; whoever asks this one to stop, asks that one."""
    # In a session of its own, it gets a Ctrl-C at the terminal from here alone, and once.
    program = subprocess.Popen(command, start_new_session=True)
    with signals.handled(lambda number, _: program.send_signal(number)):
        code = program.wait()
    return code if code >= 0 else 128 - code


class Study:
    """The study in a folder.

    Args:
        options: what the command line says.

    Attributes:
        code: the exit code, of the last program that failed.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.code, self._options, self._folder = 0, options, options.folder
        self._runs = options.folder / RUNS
        self._out = options.out or (
            options.folder / "published" if options.overrides else PUBLISHED
        )

    def alone(self) -> None:
        """Measure what examples cost."""
        self._sweep(self._folder, alone(), jobs=1)
        if not self.code:
            found = summaries.costs(read(self._folder / "alone"))
            write_text(self._out / SECONDS, found.to_csv(index=False, float_format="%.4g"))

    def run(self, parts: Iterable[str]) -> None:
        """Choose the rates, unless they are chosen, and carry the parts out in order."""
        if (archive := self._out / ARCHIVE).exists():  # what others have done is not done again
            print(
                f"runs and rates so far: {self._out} (--out DIR for a study of your own)",
                flush=True,
            )
            unpack(archive, self._runs, self._options.data, self._options.encoder)
        rates = self._rates()
        for (sampler, surgery), rate in rates.items():
            print(f"{sampler}, {surgery}: lr={rate}", flush=True)
        reported: list[Path] = []
        for sweep in (sweep for part in parts for sweep in PARTS[part](rates)):
            self._sweep(self._runs, [sweep], self._options.jobs)
            if (there := ended(self._runs)) != reported:  # what had been done adds nothing
                self.code = publish(self._runs, self._out) or self.code
                reported = there

    def _rates(self) -> dict[Cell, str]:
        """Each cell's learning rate: the best of those tried."""
        path = self._out / TUNED
        if not path.exists():
            self._sweep(self._folder, tuning(), self._options.jobs)
            runs = [RunFolder(run).read_results() for run in ended(self._folder / "tuning")]
            tried = pd.DataFrame(tried_rates(runs)).T.rename_axis(["sampler", "surgery"])
            write_text(path, tried.to_csv(float_format="%.4f"))
        tried = pd.read_csv(path, index_col=[0, 1], keep_default_na=False)
        best = tried.idxmax(axis="columns")
        cells = [(str(cell[0]), str(cell[1])) for cell in best.index]
        return dict(zip(cells, map(str, best), strict=True))

    def _sweep(self, folder: Path, sweeps: Iterable[Sweep], jobs: int) -> None:
        """Carry sweeps out; one that fails leaves the others to go on, one that stops does not."""
        for place, words in sweeps:
            # A sweep is looked at as a whole first, without what its jobs choose.
            given = ["data=cs224n", "model=local"]
            for key, value in {
                "data.dir": self._options.data, "model.path": self._options.encoder,
                "hydra.sweep.dir": folder / place,
            }.items():  # fmt: skip
                given += shlex.split(assignment(key, value))
            if jobs > 1:
                given += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"]
            train = [sys.executable, "-m", "mtl_bert.train", "-m"]
            code = carried_out([*train, *words, *given, *self._options.overrides])
            if code in (signals.EXIT_CODE, signals.AT_ONCE):
                sys.exit(code)
            self.code = code or self.code


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of the course's files")
    parser.add_argument("encoder", type=Path, help="the folder of all-MiniLM-L6-v2")
    parser.add_argument("folder", type=Path, help="where runs go")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for every run")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--parts", default=",".join(PARTS), help="default: %(default)s")
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where results are published, and where those of other machines are taken from "
        "(default: experiments/results/study2; FOLDER/published with KEY=VALUE)",
    )  # fmt: skip
    parser.add_argument(
        "--alone", action="store_true", help="only measure what examples cost, one run at a time"
    )
    with command_line(arguments) as words:
        options = parser.parse_intermixed_args(words)
        parts = options.parts.split(",")
        if unknown := [part for part in parts if part not in PARTS]:
            parser.error(f"--parts: expected some of {', '.join(PARTS)}, found {unknown[0]!r}")
        if options.jobs < 1:
            parser.error(f"--jobs: expected 1 or more, found {options.jobs}")
        for name in ("data", "encoder"):
            if not (place := getattr(options, name)).is_dir():
                parser.error(f"{name}: expected a folder, found none at {place}")
        if (place := options.folder).exists() and not place.is_dir():
            parser.error(f"folder: expected a folder, found a file at {place}; write another")
        study = Study(options)
        if options.alone:
            study.alone()
        else:
            study.run(parts)
    sys.exit(study.code)


if __name__ == "__main__":
    main()
