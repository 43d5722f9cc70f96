"""How the tasks' gradients become one update: methods on the Gram matrix, and the matrix itself."""

from mtl_bert.surgery.averaging import AveragedRows
from mtl_bert.surgery.fixed import Fixed
from mtl_bert.surgery.gradnorm import GradNorm
from mtl_bert.surgery.gradvac import GradVac
from mtl_bert.surgery.group_dro import GroupDRO
from mtl_bert.surgery.matrix import (
    Alone,
    Combined,
    GradientMatrix,
    NonFiniteGradientError,
    Surgery,
)
from mtl_bert.surgery.method import GramMethod, Method, Seen
from mtl_bert.surgery.mgda import MGDA
from mtl_bert.surgery.nash_mtl import NashMTL
from mtl_bert.surgery.pcgrad import PCGrad
from mtl_bert.surgery.plain import Mean, Sum
from mtl_bert.surgery.random_weights import RandomWeights
from mtl_bert.surgery.rows import OwnRows
from mtl_bert.surgery.uncertainty import Uncertainty

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
