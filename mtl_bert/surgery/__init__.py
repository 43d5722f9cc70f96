"""How the tasks' gradients become one update: methods on the Gram matrix, and the matrix itself."""

from mtl_bert.surgery.distributed import AveragedRows
from mtl_bert.surgery.gradients import (
    Alone,
    Combined,
    GradientMatrix,
    NonFiniteGradientError,
    OwnRows,
    Surgery,
)
from mtl_bert.surgery.methods.base import GramMethod, Method, Seen
from mtl_bert.surgery.methods.fixed import Fixed
from mtl_bert.surgery.methods.gradnorm import GradNorm
from mtl_bert.surgery.methods.gradvac import GradVac
from mtl_bert.surgery.methods.group_dro import GroupDRO
from mtl_bert.surgery.methods.mgda import MGDA
from mtl_bert.surgery.methods.nash_mtl import NashMTL
from mtl_bert.surgery.methods.pcgrad import PCGrad
from mtl_bert.surgery.methods.plain import Mean, Sum
from mtl_bert.surgery.methods.random_weights import RandomWeights
from mtl_bert.surgery.methods.uncertainty import Uncertainty

__all__ = [
    "MGDA",
    "Alone",
    "AveragedRows",
    "Combined",
    "Fixed",
    "GradNorm",
    "GradVac",
    "GradientMatrix",
    "GramMethod",
    "GroupDRO",
    "Mean",
    "Method",
    "NashMTL",
    "NonFiniteGradientError",
    "OwnRows",
    "PCGrad",
    "RandomWeights",
    "Seen",
    "Sum",
    "Surgery",
    "Uncertainty",
]
