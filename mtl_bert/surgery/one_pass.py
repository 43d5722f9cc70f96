"""K rows of gradients out of one forward and one backward pass over K tasks' examples together.

A weight's gradient is a sum over examples (or tokens), Σ g xᵀ, and those of each task stand next to
each other. Where autograd takes one sum over all of them, the layers here take K, one over each
task's segment, and put them into K rows: the same arithmetic, and the rows of K passes to rounding,
if nothing in between looks from one example at another. Opacus knows the same rules for single
examples (`opacus.grad_sample`). Shapes: N tokens or examples, D features.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from itertools import accumulate, count
from typing import Any, NamedTuple, cast

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
    alone: bool = False  # no other task has a gradient of the layer's parameters

    def put(self, parameter: Tensor | None, entry: Tensor) -> None:
        """Add to the task's gradient of a parameter, if that is trained."""
        if id(parameter) in self.places:
            self.rows.put(self.task, self.places[id(parameter)], entry)

    def put_product(self, weight: Tensor, g: Tensor, x: Tensor) -> None:
        """Add gᵀ x, of [N, out] and [N, in], to the task's gradient of a weight, likewise."""
        if id(weight) in self.places:
            g, x = g[self.part], x[self.part]
            if self.alone:  # memory for all tasks' products would be K times what is needed
                self.put(weight, (g.t() @ x).to(weight.dtype))
            else:
                self.rows.put_product(self.task, self.places[id(weight)], g, x, weight)


class Trunk:
    """A part of a model that several tasks go through at once, and its parameters in a row.

    Args:
        module: of layers whose types ``RULES`` has, looking at each example by itself. A layer that
            one task's examples alone go through says so by an attribute ``only_task``.
        parameters: the P that are trained, the trunk's among them.

    Attributes:
        module: the module.
        inside: the places of the trunk's parameters.
        outside: the places of the others.
        collecting: whether what goes backward through the layers is for the tasks' rows.

    Raises:
        ValueError: a layer of another type.
    """

    def __init__(self, module: nn.Module, parameters: Sequence[Parameter]) -> None:
        if layer := obstacle(module):
            raise ValueError(
                f"Surgeon.one_pass: expected layers of {', '.join(t.__name__ for t in RULES)}, "
                f"found {layer}; take the tasks one by one"
            )
        self.collecting = False
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
    def segmented(
        self, rows: LocalRows, examples: Mapping[str, int], tokens: Mapping[str, int] | None
    ) -> Iterator[None]:
        """Have the layers put each task's gradients into the task's row.

        Args:
            rows: of the step.
            examples: as ``Surgeon.one_pass`` has them.
            tokens: likewise.
        """
        B, N = sum(examples.values()), sum((tokens or {}).values())
        calls = count()

        @cache
        def segments(leading: torch.Size) -> list[Segment]:
            """Of an input with these leading dimensions, laid out flat; none if it is none."""
            count = leading.numel()
            if leading and leading[0] == B:
                sizes, each = examples, count // B
            elif tokens and count == N:
                sizes, each = tokens, 1
            else:
                return []
            ends = accumulate(size * each for size in sizes.values())
            return [
                Segment(task, slice(end - size * each, end), rows, self._places)
                for (task, size), end in zip(sizes.items(), ends, strict=True)
                if size
            ]

        def collected(call: int, found: Sequence[Segment]) -> Iterator[Segment]:
            """Give the parts of a call, by its number, as the backward pass goes through it."""
            if not self.collecting:
                return
            yield from found
            # Autograd goes backward through calls in the reverse order, so that of later ones, too,
            # there is nothing to come, even where nobody has looked at what they gave.
            while rows.unfinished and next(reversed(rows.unfinished.values())) >= call:
                rows.unfinished.popitem()
            rows.send()

        def forward(layer: nn.Module, x: Tensor) -> Tensor:
            rule, parameters = RULES[type(layer)], (layer.weight, getattr(layer, "bias", None))
            if rule is _Embedding and len(x) == 1 and x.numel() != N:
                x = x.expand(B, *x.shape[1:])  # positions, say, that all examples share
            own = 0 if rule is _Embedding else len(getattr(layer, "normalized_shape", "1"))
            task: Any = getattr(layer, "only_task", None)
            alone = [Segment(task, slice(None), rows, self._places, alone=True)]
            found = alone if task is not None else segments(x.shape[: x.dim() - own])
            # BERT asks its pooler of packed sequences, for example, whose answer nobody looks at.
            # If somebody does, the gradient that autograd then has is found in ``add_together``.
            if not found:
                return cast(Tensor, type(layer).forward(layer, x))
            call = next(calls)
            for place in {id(p) for p in parameters} & self._places.keys():
                rows.unfinished.setdefault(self._places[place], call)
            given = layer, partial(collected, call, found), x, *parameters
            return cast(Tensor, rule.apply(*given))  # type: ignore[no-untyped-call]

        try:
            for layer in self._layers:
                vars(layer)["forward"] = partial(forward, layer)
            yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)
            rows.unfinished.clear()


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


# The rules. Parameters are asked of the layer: tensors that were saved are others once they come
# out of a checkpoint.


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ctx.layer, ctx.segments, x, weight, bias = given
        kind, dtype, ctx.dtype = x.device.type, x.dtype, x.dtype
        if torch.is_autocast_enabled(kind) and dtype != torch.float64:
            dtype = torch.get_autocast_dtype(kind)
        x, weight = x.to(dtype), weight.to(dtype)
        ctx.save_for_backward(x, weight)
        return functional.linear(x, weight, None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (x, weight), bias = ctx.saved_tensors, ctx.layer.bias
        with torch.autocast(g.device.type, enabled=False):
            gx = (g @ weight).to(ctx.dtype) if ctx.needs_input_grad[2] else None
            g, x = g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1])
            for segment in ctx.segments():
                segment.put_product(ctx.layer.weight, g, x)
                if bias is not None:
                    segment.put(bias, g[segment.part].sum(0, dtype=bias.dtype))
        return None, None, gx, None, None


class _LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ctx.layer, ctx.segments, x, weight, bias = given
        ctx.dtype = x.dtype
        if x.is_cuda and torch.is_autocast_enabled("cuda"):
            x = x.float()
        out, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, ctx.layer.eps)
        ctx.save_for_backward(x, mean, rstd)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        seen, weight, bias = [g.contiguous(), *ctx.saved_tensors], ctx.layer.weight, ctx.layer.bias

        def gradients(parts: list[Tensor], *wanted: bool) -> Any:
            g, x, *rest = parts
            return aten.native_layer_norm_backward(g, x, weight.shape, *rest, weight, bias, wanted)

        gx = gradients(seen, True, False, False)[0] if ctx.needs_input_grad[2] else None
        flat = [part.reshape(-1, *part.shape[part.dim() - weight.dim() :]) for part in seen]
        for segment in ctx.segments():
            parts = [part[segment.part] for part in flat]
            _, g_weight, g_bias = gradients(parts, False, True, bias is not None)
            segment.put(weight, g_weight)
            segment.put(bias, g_bias)
        return None, None, None if gx is None else gx.to(ctx.dtype), None, None


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ctx.layer, ctx.segments, x, weight, _ = given
        ctx.save_for_backward(x)
        return functional.rms_norm(x, list(weight.shape), weight, ctx.layer.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,), weight, eps = ctx.saved_tensors, ctx.layer.weight, ctx.layer.eps
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            plain = functional.rms_norm(x, list(weight.shape), None, eps)
        (gx,) = torch.autograd.grad(plain, x, (g * weight).to(plain.dtype))
        products = (g * plain).reshape(-1, *weight.shape)
        for segment in ctx.segments():
            segment.put(weight, products[segment.part].sum(0, dtype=weight.dtype))
        return None, None, gx, None, None


class _Embedding(Function):
    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        ctx.layer, ctx.segments, ids, weight, _ = given
        ctx.save_for_backward(ids)
        return functional.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (ids,), layer = ctx.saved_tensors, ctx.layer
        padding = -1 if layer.padding_idx is None else layer.padding_idx
        how = layer.num_embeddings, padding, layer.scale_grad_by_freq, layer.sparse
        g, ids = g.reshape(-1, g.shape[-1]), ids.reshape(-1)
        for segment in ctx.segments():
            entry = aten.embedding_backward(g[segment.part], ids[segment.part], *how)
            segment.put(layer.weight, entry)
        return None, None, None, None, None


RULES: Mapping[type[nn.Module], type[Function]] = {
    nn.Linear: _Linear,
    nn.LayerNorm: _LayerNorm,
    nn.RMSNorm: _RMSNorm,
    nn.Embedding: _Embedding,
}
"""The layers of which one pass gives K rows, by type; what a subclass does, nobody knows."""
