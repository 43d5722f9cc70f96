"""Projected attention layers, and their low-rank kin: a small part of every layer for each task.

Stickland and Murray 2019, "BERT and PALs", https://arxiv.org/abs/1902.02671, section 3, with the
sizes of their code. A layer's output LN(a + FFN(a)), where a = LN(h + Attention(h)), becomes
LN(a + FFN(a) + TS(h)), and TS is the task's own.

Shapes: S sequences, T tokens of the longest, N tokens over all, H heads, D features, s of a task's
inner states.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import gelu, pad, scaled_dot_product_attention
from transformers import PreTrainedModel

from mtl_bert.data.batch import Batch
from mtl_bert.model.encoder import ModelError, check_layers, stacks_of
from mtl_bert.model.packing import packed_attention

Attend = Callable[..., Tensor]
"""Queries, keys and values [_, H, T, s / H], and ``dropout`` -> [_, T, H, s / H]."""

SIZES = {"pals": 204, "low_rank": 100}  # of inner states, where D is 768
LAST_NORMS = "output.LayerNorm", "output_layer_norm"
"""Names of the LayerNorm that gives a layer's output, in BERT and its kin and in DistilBERT."""


@dataclass(frozen=True)
class Shape:
    """What is put on an encoder for each task.

    Attributes:
        kind: pals, or low_rank.
        size: s.
        heads: H, of pals.
        layers: numbers of the encoder's layers that have it, from 0.
    """

    kind: str
    size: int
    heads: int
    layers: tuple[int, ...]

    @classmethod
    def of(
        cls,
        encoder: PreTrainedModel,
        kind: str,
        size: int | None = None,
        heads: int = 6,
        layers: Sequence[int] | None = None,
    ) -> "Shape":
        """The same with what is not given in the paper's proportions.

        Raises:
            ModelError: heads that do not divide the size, or layers that the encoder lacks.
        """
        unit, count = heads if kind == "pals" else 1, len(last_norms(encoder))
        if size is None:
            size = unit * max(1, round(SIZES[kind] / 768 * encoder.config.hidden_size / unit))
        if size % unit:
            raise ModelError(
                f"model.adapter_size: expected a multiple of model.adapter_heads={heads}, found "
                f"{size}; write model.adapter_size={max(1, size // heads) * heads}"
            )
        chosen = tuple(range(count) if layers is None else sorted(set(layers)))
        check_layers(chosen, count)
        return cls(kind, size, heads, chosen)

    def make(self, encoder: PreTrainedModel) -> nn.Module:
        """A task's modules with weights as BERT begins with: [T, D] to [T, D] in each layer."""
        config = encoder.config
        if self.kind == "pals":
            theirs = getattr(config, "attention_dropout", 0.0)
            dropout = getattr(config, "attention_probs_dropout_prob", theirs)
            made: nn.Module = PALs(
                config.hidden_size, self.size, self.heads, len(self.layers), dropout
            )
        else:
            made = LowRank(config.hidden_size, self.size, len(self.layers))
        for part in made.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=getattr(config, "initializer_range", 0.02))
                nn.init.zeros_(part.bias)
        return made


class _Attention(nn.Module):
    """Multi-head attention without an output matrix: [_, T, s] to [_, T, s]."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.heads, self.dropout = heads, dropout

    def forward(self, states: Tensor, attend: Attend) -> Tensor:
        parts = [part(states) for part in (self.query, self.key, self.value)]
        spread = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        return attend(*spread, dropout=self.dropout if self.training else 0.0).flatten(2)


class PALs(nn.Module):
    """A task's projections, which all layers share, and its attention in each layer."""

    def __init__(self, features: int, size: int, heads: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(features, size), nn.Linear(size, features)
        self.layers = nn.ModuleList(_Attention(size, heads, dropout) for _ in range(layers))

    def forward(self, place: int, states: Tensor, attend: Attend) -> Tensor:
        """TS(h) of a layer: of h [_, T, D] the same."""
        return gelu(self.up(self.layers[place](self.down(states), attend)))


class LowRank(nn.Module):
    """A task's two matrices in each layer, with gelu between them."""

    def __init__(self, features: int, size: int, layers: int) -> None:
        super().__init__()
        pairs = ((nn.Linear(features, size), nn.Linear(size, features)) for _ in range(layers))
        self.layers = nn.ModuleList(nn.Sequential(down, nn.GELU(), up) for down, up in pairs)

    def forward(self, place: int, states: Tensor, attend: Attend) -> Tensor:
        """TS(h) of a layer: of h [_, T, D] the same."""
        return torch.as_tensor(self.layers[place](states))


class Part(NamedTuple):
    """A task's part of what goes through the encoder at once."""

    task: str
    size: int  # sequences or, without padding, tokens
    attend: Attend


class TaskAdapters:
    """Every task's modules, and which tasks are going through the encoder.

    Args:
        encoders: on whose layers they are put.
        tasks: each has its own.
        shape: what each has.

    Attributes:
        modules: by task.
        trunk: the encoders with the modules.
    """

    def __init__(
        self, encoders: Sequence[PreTrainedModel], tasks: Sequence[str], shape: Shape
    ) -> None:
        self.shape, self.packs = shape, False
        self.parts: Sequence[Part] = ()  # none: encoders are as they came
        self.modules = nn.ModuleDict({task: shape.make(encoders[0]) for task in tasks})
        self.trunk = nn.ModuleList([*encoders, self.modules])
        for task, module in self.modules.items():
            for layer in module.modules():
                vars(layer)["only_task"] = task  # as the surgery's one pass asks
        for encoder in encoders:
            self._attach(encoder)

    def take(self, batches: Mapping[str, Batch], packs: bool) -> None:
        """Say what goes through the encoder next: the tasks' sequences one after another."""
        self.packs = packs
        T = max(batch.max_seqlen for batch in batches.values())
        self.parts = [
            Part(task, len(batch.input_ids), partial(_attend_packed, batch, batch.mask))
            if packs
            else Part(
                task, batch.sequences, partial(_attend, pad(batch.mask, (0, T - batch.max_seqlen)))
            )
            for task, batch in batches.items()
        ]

    def of(self, place: int, states: Tensor) -> Tensor:
        """TS(h) of every task's part of a layer's input h: [_, _, D]."""
        dimension = 1 if self.packs else 0
        split = torch.split(states, [part.size for part in self.parts], dimension)
        answers = [
            self.modules[part.task](place, own, part.attend)
            for part, own in zip(self.parts, split, strict=True)
        ]
        return torch.cat(answers, dimension) if len(answers) > 1 else answers[0]

    def _attach(self, encoder: PreTrainedModel) -> None:
        """Have every layer note its input, and its last LayerNorm take TS(h) besides the rest."""
        found = last_norms(encoder)
        for place, number in enumerate(self.shape.layers):
            layer, norm = found[number]
            given: list[Tensor] = []
            layer.register_forward_pre_hook(partial(self._begin, given), with_kwargs=True)
            norm.register_forward_pre_hook(partial(self._add, place, layer, given))

    def _begin(self, given: list[Tensor], _: nn.Module, args: Any, kwargs: Any) -> None:
        if self.parts:
            given[:] = [args[0] if args else kwargs["hidden_states"]]

    def _add(
        self, place: int, layer: nn.Module, given: list[Tensor], _: nn.Module, args: Any
    ) -> Any:
        if not self.parts:
            return args
        (states,) = given
        if not (layer.training and getattr(layer, "gradient_checkpointing", False)):
            given.clear()  # else the layer is computed again, without its beginning
        return args[0] + self.of(place, states), *args[1:]


def last_norms(encoder: PreTrainedModel) -> list[tuple[nn.Module, nn.Module]]:
    """Every layer of an encoder with the LayerNorm that gives its output.

    Raises:
        ModelError: its layers are other ones.
    """
    layers = [layer for stack in stacks_of(encoder)[:1] for layer in stack]
    inside = [dict(layer.named_modules()) for layer in layers]
    names = (name for name in LAST_NORMS if all(name in parts for parts in inside))
    found = [(parts[""], parts[name]) for name in names for parts in inside]
    if not found:
        raise ModelError(
            "model.adapter: expected an encoder like BERT, whose layers end in a LayerNorm, found "
            f"{type(encoder).__name__}; write model.adapter=lora"
        )
    return found


def _attend(
    mask: Tensor, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0
) -> Tensor:
    """Attention to what a mask [S, T] leaves."""
    wide = mask[:, None, None]
    attended = scaled_dot_product_attention(query, key, value, wide, dropout_p=dropout)
    return attended.transpose(1, 2)


def _attend_packed(
    batch: Batch, mask: Tensor, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0
) -> Tensor:
    how: Any = {"packed": batch, "mask": mask[:, None, None], "dropout": dropout}
    return packed_attention(nn.Identity(), query, key, value, None, **how)[0]


FILE = "adapters.safetensors"


def attach_saved(encoder: PreTrainedModel, place: str | Path, task: str) -> None:
    """Put a task's modules from an exported directory on the encoder from the same directory.

    Args:
        encoder: as ``AutoModel.from_pretrained(place)`` gives it; takes padded batches afterwards.
        place: the directory.
        task: whose modules.
    """
    known = json.loads((Path(place) / "heads.json").read_text("utf-8"))["adapter"]
    shape = Shape(**{**known, "layers": tuple(known["layers"])})
    adapters = TaskAdapters([encoder], [task], shape)
    adapters.modules.train(encoder.training)
    weights = load_file(Path(place) / FILE)
    adapters.modules.load_state_dict({k: v for k, v in weights.items() if k.startswith(f"{task}.")})

    def begin(_: nn.Module, args: Any, kwargs: Mapping[str, Tensor]) -> None:
        mask = kwargs["attention_mask"].bool()
        adapters.parts = [Part(task, len(mask), partial(_attend, mask))]

    encoder.register_forward_pre_hook(begin, with_kwargs=True)
