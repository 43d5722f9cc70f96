"""K rows of gradients out of one forward and one backward pass over K tasks' examples together.

A weight's gradient is a sum over examples (or tokens), Σ g xᵀ, and those of each task stand next to
each other. Where autograd takes one sum over all of them, the layers here take K, one over each
task's segment, and put them into K rows: the same arithmetic, and the rows of K passes to rounding,
if nothing in between looks from one example at another. Opacus knows the same rules for single
examples (`opacus.grad_sample`). Shapes: N tokens or examples, D features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch.nn import Parameter, functional
from torch.nn.modules.batchnorm import _BatchNorm

from mtl_bert.surgery.rows import LocalRows

aten = torch.ops.aten


class Segment(NamedTuple):
    """A task's part of what a layer sees, and where the gradients of its parameters go."""

    task: str
    part: slice  # of N
    rows: LocalRows
    places: Mapping[int, int]  # of trained parameters in a row, by ``id``

    def put(self, parameter: Tensor | None, entry: Tensor) -> None:
        """Add to the task's gradient of a parameter, if that is trained."""
        if id(parameter) in self.places:
            self.rows.put(self.task, self.places[id(parameter)], entry)

    def put_product(self, weight: Tensor, g: Tensor, x: Tensor) -> None:
        """Add gᵀ x, of [N, out] and [N, in], to the task's gradient of a weight, likewise."""
        if id(weight) in self.places:
            g, x = g[self.part], x[self.part]
            self.rows.put_product(self.task, self.places[id(weight)], g, x, weight)


class Trunk:
    """A part of a model that several tasks go through at once, and its parameters in a row.

    Args:
        module: of layers whose types ``RULES`` has, looking at each example by itself.
        parameters: the P that are trained, the trunk's among them.

    Attributes:
        module: the module.
        inside: the places of the trunk's parameters.
        outside: the places of the others.

    Raises:
        ValueError: a layer of another type.
    """

    def __init__(self, module: nn.Module, parameters: Sequence[Parameter]) -> None:
        if layer := obstacle(module):
            raise ValueError(
                f"Surgeon.one_pass: expected layers of {', '.join(t.__name__ for t in RULES)}, "
                f"found {layer}; take the tasks one by one"
            )
        self.module, self._places = module, {id(p): place for place, p in enumerate(parameters)}
        own = {self._places.get(id(p)) for p in module.parameters()}
        self.inside = [place for place in self._places.values() if place in own]
        self.outside = [place for place in self._places.values() if place not in own]
        self._layers = [
            layer
            for layer in module.modules()
            if any(id(p) in self._places for p in layer.parameters(recurse=False))
        ]

    @contextmanager
    def segmented(self, rows: LocalRows, sizes: Sequence[Mapping[str, int]]) -> Iterator[None]:
        """Have the layers put each task's gradients into the task's row.

        Args:
            rows: of the step.
            sizes: as ``Surgeon.one_pass`` has them.
        """

        def forward(layer: nn.Module, input: Tensor) -> Tensor:  # noqa: A002
            out = RULES[type(layer)](layer, input, totals, segments)
            # BERT asks its pooler of packed sequences, for example, whose answer nobody looks at.
            # If somebody does, the gradient that autograd then has is found in ``add_together``.
            return type(layer).forward(layer, input) if out is None else out

        totals = [sum(form.values()) for form in sizes]

        def segments(leading: Sequence[int]) -> list[Segment]:
            """Of an input with these leading dimensions, laid out flat; none if it is none."""
            N = torch.Size(leading).numel()
            for form, total in zip(sizes, totals, strict=True):
                if N == total or (leading and leading[0] == total):
                    found, end = list[Segment](), 0
                    for task, size in form.items():
                        begin, end = end, end + size * (N // total)
                        found += [Segment(task, slice(begin, end), rows, self._places)] * (size > 0)
                    return found
            return []

        try:
            for layer in self._layers:
                vars(layer)["forward"] = partial(forward, layer)
            yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)


def obstacle(trunk: nn.Module) -> str | None:
    """The layer of a module for which there is no rule, if any."""
    for name, module in trunk.named_modules():
        trained = [p for p in module.parameters(recurse=False) if p.requires_grad]
        hooks = (p._backward_hooks or p._post_accumulate_grad_hooks for p in trained)
        known = (
            type(module) in RULES
            and module._parameters.keys() <= {"weight", "bias"}
            and "forward" not in vars(module)
            and getattr(module, "max_norm", None) is None
            and not any(hooks)
        )
        if isinstance(module, _BatchNorm) or (trained and not known):
            return f"{name or 'itself'} ({type(module).__name__})"
    return None


# A rule: what a layer makes of its input, or None where no segments are known of it.

Segments = Callable[[Sequence[int]], list[Segment]]


def _linear(layer: nn.Linear, x: Tensor, totals: Sequence[int], of: Segments) -> Tensor | None:
    segments = of(x.shape[:-1])
    return _apply(_Linear, x, layer.weight, layer.bias, segments) if segments else None


def _layer_norm(
    layer: nn.LayerNorm, x: Tensor, totals: Sequence[int], of: Segments
) -> Tensor | None:
    segments = of(x.shape[: -len(layer.normalized_shape)])
    return (
        _apply(_LayerNorm, x, layer.weight, layer.bias, layer.eps, segments) if segments else None
    )


def _rms_norm(layer: nn.RMSNorm, x: Tensor, totals: Sequence[int], of: Segments) -> Tensor | None:
    segments = of(x.shape[: -len(layer.normalized_shape)])
    plain = functional.rms_norm(x, list(layer.normalized_shape), None, layer.eps)
    return _apply(_Scale, plain, layer.weight, segments) if segments else None


def _embedding(
    layer: nn.Embedding, ids: Tensor, totals: Sequence[int], of: Segments
) -> Tensor | None:
    if ids.dim() > 1 and len(ids) == 1 and ids.numel() not in totals:
        ids = ids.expand(totals[0], *ids.shape[1:])  # positions, say, that all examples share
    segments = of(ids.shape)
    return _apply(_Embedding, ids, layer.weight, layer, segments) if segments else None


RULES: Mapping[type[nn.Module], Callable[..., Tensor | None]] = {
    nn.Linear: _linear,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _rms_norm,
    nn.Embedding: _embedding,
}
"""The layers of which one pass gives K rows, by type; what a subclass does, nobody knows."""


def _apply(function: type[Function], *given: Any) -> Tensor:
    out: Tensor = function.apply(*given)  # type: ignore[no-untyped-call]
    return out


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, weight, bias, ctx.segments = given
        kind, dtype, ctx.dtype = x.device.type, x.dtype, x.dtype
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
        cast, factor = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(cast, factor, weight, bias)
        return functional.linear(cast, factor, None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, factor, weight, bias = ctx.saved_tensors
        with torch.autocast(g.device.type, enabled=False):
            gx = (g @ factor).to(ctx.dtype) if ctx.needs_input_grad[0] else None
            g, x = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
            for segment in ctx.segments:
                segment.put_product(weight, g, x)
                if bias is not None:
                    segment.put(bias, g[segment.part].sum(0, dtype=bias.dtype))
        return gx, None, None, None


class _LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, weight, bias, eps, ctx.segments = given
        ctx.dtype = x.dtype
        if x.is_cuda and torch.is_autocast_enabled("cuda"):
            x = x.float()
        out, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
        ctx.save_for_backward(x, mean, rstd, weight, bias)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        *seen, weight, bias = ctx.saved_tensors
        seen = [g.contiguous(), *seen]

        def gradients(parts: list[Tensor], *wanted: bool) -> Any:
            g, x, *rest = parts
            return aten.native_layer_norm_backward(g, x, weight.shape, *rest, weight, bias, wanted)

        gx = gradients(seen, True, False, False)[0] if ctx.needs_input_grad[0] else None
        D = weight.dim()
        flat = [part.reshape(-1, *part.shape[part.dim() - D :]) for part in seen]
        for segment in ctx.segments:
            parts = [part[segment.part] for part in flat]
            _, g_weight, g_bias = gradients(parts, False, True, bias is not None)
            segment.put(weight, g_weight)
            segment.put(bias, g_bias)
        return None if gx is None else gx.to(ctx.dtype), None, None, None, None


class _Scale(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        x, weight, ctx.segments = given
        ctx.save_for_backward(x, weight)
        scaled: Tensor = x * weight
        return scaled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        products = (g * x).reshape(-1, *weight.shape)
        for segment in ctx.segments:
            segment.put(weight, products[segment.part].sum(0, dtype=weight.dtype))
        return (g * weight).to(x.dtype), None, None


class _Embedding(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ids, weight, ctx.layer, ctx.segments = given
        ctx.save_for_backward(ids, weight)
        return functional.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        ids, weight = ctx.saved_tensors
        padding = -1 if ctx.layer.padding_idx is None else ctx.layer.padding_idx
        how = len(weight), padding, ctx.layer.scale_grad_by_freq, ctx.layer.sparse
        g, ids = g.reshape(-1, g.shape[-1]), ids.reshape(-1)
        for segment in ctx.segments:
            entry = aten.embedding_backward(g[segment.part], ids[segment.part], *how)
            segment.put(weight, entry)
        return None, None, None, None
