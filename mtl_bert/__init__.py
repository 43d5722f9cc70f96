"""Fine-tune one encoder on several tasks of very unequal size.

Two questions decide how that goes: which examples does each optimisation step see, and how do the
tasks' gradients become one update? In a training loop of your own::

    from mtl_bert import ARRP, PCGrad, PlanLoader, Surgeon

    loader = PlanLoader({"a": a, "b": b}, ARRP(batch_size=8, B=24_000), epochs=10, seed=1)
    surgeon = Surgeon(model, PCGrad())
    for epoch in range(1, 11):
        loader.set_epoch(epoch)
        for step in loader:
            with surgeon.step(optimizer, step.phase):
                for task, batch in step.batches.items():
                    surgeon.backward(task, loss_of(task, batch))

The program's own runs: ``run = mtl_bert.train("sampler=arrp", "lambda=0.5", out="runs/first")``;
``mtl_bert.load("runs/first").predict("sst", texts)`` answers with it, or with an export of it.

Everything here is imported when it is first asked for: samplers need numpy, surgery torch, and
nothing of it needs transformers, Lightning or Hydra.
"""

import sys
from contextlib import nullcontext
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mtl_bert.inference.opened import Run as Run
    from mtl_bert.inference.transformers_export import load as load
    from mtl_bert.memory.preview import Preview
    from mtl_bert.sampling import ARRP as ARRP
    from mtl_bert.sampling import Annealed as Annealed
    from mtl_bert.sampling import DevGap as DevGap
    from mtl_bert.sampling import Downsample as Downsample
    from mtl_bert.sampling import Epoch as Epoch
    from mtl_bert.sampling import FixedMixture as FixedMixture
    from mtl_bert.sampling import Full as Full
    from mtl_bert.sampling import Phase as Phase
    from mtl_bert.sampling import RoundRobin as RoundRobin
    from mtl_bert.sampling import Sampler as Sampler
    from mtl_bert.sampling import Seen as Seen
    from mtl_bert.sampling import Step as Step
    from mtl_bert.sampling import StopAndGo as StopAndGo
    from mtl_bert.sampling import Temperature as Temperature
    from mtl_bert.sampling import Tiers as Tiers
    from mtl_bert.sampling import TwoStage as TwoStage
    from mtl_bert.sampling import UniMax as UniMax
    from mtl_bert.sampling import Vanilla as Vanilla
    from mtl_bert.sampling.loader import PlanLoader as PlanLoader
    from mtl_bert.sampling.loader import PlanStep as PlanStep
    from mtl_bert.surgery import DBMTL as DBMTL
    from mtl_bert.surgery import DWA as DWA
    from mtl_bert.surgery import IMTLL as IMTLL
    from mtl_bert.surgery import MGDA as MGDA
    from mtl_bert.surgery import PCD as PCD
    from mtl_bert.surgery import STCH as STCH
    from mtl_bert.surgery import Fixed as Fixed
    from mtl_bert.surgery import GeometricMean as GeometricMean
    from mtl_bert.surgery import GradNorm as GradNorm
    from mtl_bert.surgery import GradVac as GradVac
    from mtl_bert.surgery import GroupDRO as GroupDRO
    from mtl_bert.surgery import Mean as Mean
    from mtl_bert.surgery import Method as Method
    from mtl_bert.surgery import NashMTL as NashMTL
    from mtl_bert.surgery import PCGrad as PCGrad
    from mtl_bert.surgery import RandomWeights as RandomWeights
    from mtl_bert.surgery import StepResult as StepResult
    from mtl_bert.surgery import StepStats as StepStats
    from mtl_bert.surgery import Sum as Sum
    from mtl_bert.surgery import Surgeon as Surgeon
    from mtl_bert.surgery import Surgery as Surgery
    from mtl_bert.surgery import Uncertainty as Uncertainty
    from mtl_bert.utils.errors import UserError as UserError

__version__ = "0.2.0"

_HOMES = {
    "mtl_bert.sampling": "ARRP Annealed DevGap Downsample Epoch FixedMixture Full Phase RoundRobin "
    "Sampler Seen Step StopAndGo Temperature Tiers TwoStage UniMax Vanilla",
    "mtl_bert.sampling.loader": "PlanLoader PlanStep",
    "mtl_bert.surgery": "DBMTL DWA Fixed GeometricMean GradNorm GradVac GroupDRO IMTLL MGDA Mean "
    "Method NashMTL PCD PCGrad RandomWeights STCH StepResult StepStats Sum Surgeon Surgery "
    "Uncertainty",
    "mtl_bert.inference.opened": "Run",
    "mtl_bert.inference.transformers_export": "load",
    "mtl_bert.utils.errors": "UserError",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = ["__version__", "plan", "train", *_HOME]


def train(
    *overrides: str,
    out: "str | Path | None" = None,
    data: "Mapping[str, Sequence[Any]] | None" = None,
    config_dir: "str | Path | None" = None,
) -> "Run":
    """Carry out a run, as ``mtl-bert train`` does, and open it.

        run = mtl_bert.train("sampler=arrp", "lambda=0.5", "B=24000", out="runs/first")
        run.results.score

    Args:
        overrides: settings as on the command line, KEY=VALUE each.
        out: the run's folder. A run that is there goes on, or is opened if it has finished. None
            makes a new folder below ``runs``, named by date, sampler and seed.
        data: for each task (train, dev), or (train, dev, test): a pandas frame, a
            ``datasets.Dataset`` or a list of dicts each, with the columns ``text`` (and ``text2``
            of pairs) and ``label``, or those that the task's file names. Chooses ``data=files``.
        config_dir: a folder with choices of one's own, as ``--config-dir``.

    Raises:
        UserError: a setting, data or a model that cannot be; one line says what to write instead.
    """
    from mtl_bert.config.command_line import compose
    from mtl_bert.inference.opened import Run
    from mtl_bert.utils.logging import plain_messages

    words = overrides if data is None else (*overrides, "data=files")
    settings, directory = compose(words, out, [config_dir] if config_dir else ()).run()
    plain_messages()
    # Torch takes seconds to import: settings that are wrong are refused before that.
    from mtl_bert.data.sources.given import kept
    from mtl_bert.training.run import run

    with kept(data, settings, directory) if data else nullcontext(settings) as settings:
        directory = run(settings, directory)
    return Run.open(directory, trust=directory)  # its configuration was written just now


def plan(*overrides: str, sizes: dict[str, int] | None = None) -> "Preview":
    """Show what each epoch would see, as ``mtl-bert plan`` does, without training.

        print(mtl_bert.plan("sampler=rr", "epochs=1", sizes={"sts": 6040, "qqp": 283010}))

    Args:
        overrides: settings as on the command line, KEY=VALUE each.
        sizes: training examples of each task; None reads the data.

    Raises:
        UserError: a setting or data that cannot be; one line says what to write instead.
    """
    from mtl_bert.config.command_line import compose
    from mtl_bert.config.compose import read_settings
    from mtl_bert.memory.preview import preview

    return preview(read_settings(compose(overrides).config), sizes)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mtl_bert' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Door(ModuleType):
    """Keeps the functions ``train`` and ``plan`` when the commands of those names are imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in ("train", "plan") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Door
