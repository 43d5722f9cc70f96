"""Which examples each optimisation step sees: plans, and one short function per method."""

from mtl_bert.sampling.annealed import Annealed
from mtl_bert.sampling.arrp import ARRP
from mtl_bert.sampling.epoch import Epoch, Phase, Sampler, Step
from mtl_bert.sampling.full import Full, Single
from mtl_bert.sampling.round_robin import RoundRobin
from mtl_bert.sampling.untrained import Untrained
from mtl_bert.sampling.vanilla import Vanilla

__all__ = [
    "ARRP",
    "Annealed",
    "Epoch",
    "Full",
    "Phase",
    "RoundRobin",
    "Sampler",
    "Single",
    "Step",
    "Untrained",
    "Vanilla",
]
