"""Low-rank changes to an encoder's weights, for all tasks together or for each: LoRA, by ``peft``.

Hu et al. 2021, https://arxiv.org/abs/2106.09685: a weight W becomes W + (α / r) B A, of rank r,
where B begins as zero, so that the encoder begins as it came.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel

from mtl_bert.data.batch import Batch
from mtl_bert.model.encoder import ModelError, check_layers

SHARED, ADAPTERS = "shared", "adapters"
BESIDES = {
    "camembert": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "mpnet": ["q", "v"],
    "albert": ["query", "value"],
}
"""Queries and values of kinds that ``peft`` has no names for."""


def put_lora(
    encoder: PreTrainedModel,
    names: Sequence[str],
    rank: int,
    alpha: int,
    layers: Sequence[int] | None = None,
) -> None:
    """Give an encoder's projections low-rank changes, some for each name.

    They go on the queries and values of BERT and its kin and of what ``peft`` knows besides, and on
    all linear layers of other encoders.

    Raises:
        ModelError: peft is missing, or cannot do it with this encoder.
    """
    try:
        from peft import LoraConfig, LoraModel
        from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as USUAL
    except ImportError as error:
        raise ModelError(
            f"model.adapter: expected peft for LoRA, found none ({error}); write "
            "pip install 'mtl-bert[lora]', or model.adapter=pals"
        ) from None
    count = getattr(encoder.config, "num_hidden_layers", None)
    if layers is not None and count:
        check_layers(layers, count)
    how: dict[str, Any] = {
        "target_modules": {**BESIDES, **USUAL}.get(encoder.config.model_type, "all-linear"),
        "layers_to_transform": None if layers is None else list(layers),
    }
    if layers is not None and how["target_modules"] == "all-linear":
        raise ModelError(
            f"model.adapter_layers: expected null for LoRA in {type(encoder).__name__}, whose "
            f"linear layers all get it, found {list(layers)}; leave it out"
        )
    try:
        config = LoraConfig(r=rank, lora_alpha=alpha, **how)
        tuner = LoraModel(encoder, config, names[0])  # which changes the encoder itself
        for name in names[1:]:
            tuner.peft_config[name] = config
            tuner.inject_adapter(encoder, name)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"model.adapter: expected an encoder that peft knows, found {type(encoder).__name__} "
            f"({str(error).splitlines()[0]}); write model.adapter=pals"
        ) from error


def lora_layers(encoder: nn.Module) -> dict[str, Any]:
    """The layers of an encoder that have low-rank changes, by name; none where peft is missing."""
    return {name: part for name, part in encoder.named_modules() if hasattr(part, "lora_A")}


class LoraPerTask:
    """Low-rank changes for each task, of which one task's are in the encoder at a time."""

    def __init__(self, encoders: Iterable[PreTrainedModel]) -> None:
        self._layers = [part for encoder in encoders for part in lora_layers(encoder).values()]

    def take(self, batches: Mapping[str, Batch], packs: bool = False) -> None:
        """Say which task goes through the encoder next."""
        (task,) = batches
        for layer in self._layers:
            if layer.active_adapters != [task]:
                trained = {p: p.requires_grad for p in layer.parameters()}
                layer.set_adapter(task)  # which freezes the others
                for parameter, wanted in trained.items():
                    parameter.requires_grad_(wanted)


def take_apart(encoder: PreTrainedModel, place: Path) -> None:
    """Write the changes of each name into a directory that peft reads, and take them out."""
    from peft import get_peft_model_state_dict

    configs: Any = encoder.peft_config
    for name, config in configs.items():
        weights = get_peft_model_state_dict(encoder, adapter_name=name)
        named = {f"base_model.model.{key}": value for key, value in weights.items()}
        config.save_pretrained(place / name)
        save_file(named, place / name / "adapter_model.safetensors")
    for layer_name, layer in lora_layers(encoder).items():
        encoder.set_submodule(layer_name, layer.get_base_layer())


def merge(encoder: nn.Module, name: str) -> None:
    """Add some changes to the weights, and leave the encoder as one without any."""
    for place, layer in lora_layers(encoder).items():
        layer.merge(adapter_names=[name])
        encoder.set_submodule(place, layer.get_base_layer())
