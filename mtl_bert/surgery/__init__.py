"""How the tasks' gradients become one update: methods on the Gram matrix, and a surgeon."""

from mtl_bert.surgery.distributed import AveragedRows
from mtl_bert.surgery.freezing import FreezeError
from mtl_bert.surgery.gradients import GradientMatrix, Surgery
from mtl_bert.surgery.methods.base import LossError, Method, StepStats
from mtl_bert.surgery.methods.db_mtl import DBMTL
from mtl_bert.surgery.methods.dwa import DWA
from mtl_bert.surgery.methods.fixed import Fixed
from mtl_bert.surgery.methods.geometric import GeometricMean
from mtl_bert.surgery.methods.gradnorm import GradNorm
from mtl_bert.surgery.methods.gradvac import GradVac
from mtl_bert.surgery.methods.group_dro import GroupDRO
from mtl_bert.surgery.methods.imtl_l import IMTLL
from mtl_bert.surgery.methods.mgda import MGDA
from mtl_bert.surgery.methods.nash_mtl import NashMTL
from mtl_bert.surgery.methods.pcd import PCD
from mtl_bert.surgery.methods.pcgrad import PCGrad
from mtl_bert.surgery.methods.plain import Mean, Sum, Weighting
from mtl_bert.surgery.methods.random_weights import RandomWeights
from mtl_bert.surgery.methods.stch import STCH
from mtl_bert.surgery.methods.uncertainty import Uncertainty
from mtl_bert.surgery.result import NonFiniteGradientError, StepResult
from mtl_bert.surgery.rows import LocalRows
from mtl_bert.surgery.surgeon import Surgeon, backward

__all__ = [
    "DBMTL",
    "DWA",
    "IMTLL",
    "MGDA",
    "PCD",
    "STCH",
    "AveragedRows",
    "Fixed",
    "FreezeError",
    "GeometricMean",
    "GradNorm",
    "GradVac",
    "GradientMatrix",
    "GroupDRO",
    "LocalRows",
    "LossError",
    "Mean",
    "Method",
    "NashMTL",
    "NonFiniteGradientError",
    "PCGrad",
    "RandomWeights",
    "StepResult",
    "StepStats",
    "Sum",
    "Surgeon",
    "Surgery",
    "Uncertainty",
    "Weighting",
    "backward",
]
