"""One vector for each sequence, out of its tokens' states, as its encoder was trained to give it.

Shapes: S sequences, T tokens of the longest, D features.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn

from mtl_bert.model.encoder import ModelError

FOLDER, PREFIX = "1_Pooling", "pooling_mode_"
"""Where sentence-transformers says how a model pools."""

THEIRS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
"""Its names -> ours."""


@dataclass(frozen=True)
class Pooling:
    """How a sequence's states become one vector."""

    kind: str  # pooler, or one of ``POOLINGS``
    why: str

    def __str__(self) -> str:
        """A line of the log."""
        return f"{self.kind} ({self.why})"


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    exact = torch.promote_types(states.dtype, torch.float32)  # of hundreds of half-precision terms
    total = (states * mask[..., None]).sum(1, dtype=exact)
    return (total / mask.sum(1, keepdim=True)).to(states.dtype)


def _last(states: Tensor, mask: Tensor) -> Tensor:
    ends = mask.sum(1)[:, None, None] - 1
    return states.gather(1, ends.expand(-1, 1, states.shape[-1]))[:, 0]


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda states, mask: states[:, 0],
    "mean": _mean,
    "max": lambda states, mask: states.masked_fill(~mask[..., None], -torch.inf).amax(1),
    "last": _last,
}
"""Name -> function of states [S, T, D] and a mask [S, T], True at tokens, which come first."""

FORMULAS = {
    "pooler": "output.pooler_output",
    "cls": "output.last_hidden_state[:, 0]",
    "mean": "(output.last_hidden_state * mask).sum(1) / mask.sum(1)",
    "max": "output.last_hidden_state.masked_fill(mask == 0, -torch.inf).amax(1)",
    "last": "output.last_hidden_state[torch.arange(len(mask)), mask.sum((1, 2)) - 1]",
}
"""The same for readers: of an encoder's output, and a mask [S, T, 1] of texts padded at the end."""


def choose(wanted: str, encoder: nn.Module, path: str | None) -> Pooling:
    """The way to pool; ``auto`` is the one that the encoder was trained for, as far as is known.

    Args:
        wanted: ``auto``, ``pooler``, ``cls``, ``mean``, ``max`` or ``last``.
        encoder: has a ``pooler`` if, and only if, that was loaded with it.
        path: the encoder's directory, or its name on the hub.

    Raises:
        ModelError: the pooler is asked for, and there is none.
    """
    has_pooler = getattr(encoder, "pooler", None) is not None
    if wanted == "pooler" and not has_pooler:
        raise ModelError(
            "model.pooling: expected one that the encoder was trained with, found pooler, which "
            f"{path or type(encoder).__name__} does not have; write model.pooling=mean"
        )
    if wanted != "auto":
        return Pooling(wanted, f"model.pooling={wanted}")
    if said := _said_by_sentence_transformers(path):
        return Pooling(said, f"as {FOLDER}/config.json says")
    if has_pooler:
        return Pooling("pooler", "which the encoder comes with")
    return Pooling("mean", "as the encoder comes without a trained pooler")


def _said_by_sentence_transformers(path: str | None) -> str | None:
    """What ``1_Pooling/config.json`` names, if that is one way of ours; no network is asked."""
    if path is None:
        return None
    file: Any = Path(path, FOLDER, "config.json")
    if not Path(path).is_dir():
        file = try_to_load_from_cache(path, f"{FOLDER}/config.json")
    try:
        said = json.loads(Path(file).read_text("utf-8"))
        modes = [THEIRS.get(key) for key, on in said.items() if key.startswith(PREFIX) and on]
        modes = [said["pooling_mode"]] if "pooling_mode" in said else modes  # its fifth version
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    return modes[0] if len(modes) == 1 and modes[0] in [*POOLINGS] else None


def write_sentence_transformers(place: Path, kind: str, features: int) -> None:
    """Say in a directory how its encoder pools, so that whoever loads it does the same."""
    (place / FOLDER).mkdir()
    modes = {theirs: ours == kind for theirs, ours in THEIRS.items()}
    config = json.dumps({"word_embedding_dimension": features, **modes}, indent=2)
    (place / FOLDER / "config.json").write_text(config + "\n", "utf-8")
    parts = {"Transformer": "", "Pooling": FOLDER}
    modules = [
        {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{name}"}
        for k, (name, path) in enumerate(parts.items())
    ]
    (place / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", "utf-8")
