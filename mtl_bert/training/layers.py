"""Which parameters make up which part of an encoder, by their names."""

import re
from collections.abc import Sequence

LAYER = re.compile(r"\.layers?\.(\d+)\.")
PARTS = ("embeddings", "pooler")


def layer_groups(names: Sequence[str]) -> dict[str, list[int]]:
    """The parameters of the shared encoder by part, from its input to its output.

    Args:
        names: of the parameters, ``encoder.…`` for the shared encoder's.

    Returns:
        ``embeddings``, ``layer 0``, ``layer 1``, …, ``pooler`` and, if anything is left, ``rest``
        -> places among ``names``.
    """
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        if name.startswith("encoder."):
            groups.setdefault(_part(name), []).append(place)
    return dict(sorted(groups.items(), key=lambda group: min(group[1])))


def _part(name: str) -> str:
    layer = LAYER.search(name)
    if layer:
        return f"layer {int(layer[1])}"
    return next((part for part in PARTS if part in name), "rest")
