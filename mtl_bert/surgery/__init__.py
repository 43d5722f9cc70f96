"""How the tasks' gradients become one update: methods on the Gram matrix, and the matrix itself."""

from mtl_bert.surgery.matrix import Combined, GradientMatrix, NonFiniteGradientError, Surgery
from mtl_bert.surgery.method import Method
from mtl_bert.surgery.pcgrad import PCGrad
from mtl_bert.surgery.plain import Sum

__all__ = [
    "Combined",
    "GradientMatrix",
    "Method",
    "NonFiniteGradientError",
    "PCGrad",
    "Sum",
    "Surgery",
]
