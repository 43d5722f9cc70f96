"""Which examples each optimisation step sees: plans, and one short function per method."""

from mtl_bert.sampling.annealed import Annealed
from mtl_bert.sampling.arrp import ARRP
from mtl_bert.sampling.dev_gap import DevGap
from mtl_bert.sampling.downsample import Downsample
from mtl_bert.sampling.epoch import Epoch, Phase, Sampler, Step
from mtl_bert.sampling.fixed_mixture import FixedMixture
from mtl_bert.sampling.full import Full, Single
from mtl_bert.sampling.history import Seen
from mtl_bert.sampling.round_robin import RoundRobin
from mtl_bert.sampling.stop_and_go import StopAndGo
from mtl_bert.sampling.temperature import Temperature
from mtl_bert.sampling.tiers import Tiers
from mtl_bert.sampling.two_stage import TwoStage
from mtl_bert.sampling.unimax import UniMax
from mtl_bert.sampling.untrained import Untrained
from mtl_bert.sampling.vanilla import Vanilla

__all__ = [
    "ARRP",
    "Annealed",
    "DevGap",
    "Downsample",
    "Epoch",
    "FixedMixture",
    "Full",
    "Phase",
    "RoundRobin",
    "Sampler",
    "Seen",
    "Single",
    "Step",
    "StopAndGo",
    "Temperature",
    "Tiers",
    "TwoStage",
    "UniMax",
    "Untrained",
    "Vanilla",
]
