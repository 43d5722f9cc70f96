"""Where an encoder and its tokenizer come from, and what the encoder was trained on."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import ModelCard, constants, try_to_load_from_cache
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import BertConfig, PreTrainedModel, PreTrainedTokenizerBase

from mtl_bert.utils.errors import UserError, first_line
from mtl_bert.utils.hub import require_hub

log = logging.getLogger(__name__)


class ModelError(UserError):
    """An encoder that cannot be loaded or used."""


@dataclass(frozen=True)
class Tiny:
    """A small BERT with random weights and a small vocabulary, for demonstrations and tests."""

    settings: dict[str, Any] = field(default_factory=dict)  # of ``BertConfig``, if not its defaults
    name: str = "tiny"

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """WordPiece over the vocabulary that ships with the package."""
        lines = (files("mtl_bert.model") / "tiny" / "vocab.txt").read_text("utf-8").splitlines()
        vocabulary = {token: number for number, token in enumerate(lines)}
        return transformers.BertTokenizer(
            vocab=vocabulary,
            do_lower_case=True,
            model_max_length=self._config(len(lines)).max_position_embeddings,
        )

    def encoder(self) -> PreTrainedModel:
        """A new encoder with random weights, which come from torch's generator."""
        try:
            return transformers.BertModel(self._config(len(self.tokenizer())))
        except ValueError as error:
            raise self._refusal(str(error)) from error

    def trained_on(self) -> list[str]:
        """An empty list: the weights are random."""
        return []

    def _config(self, vocabulary: int) -> BertConfig:
        for name in self.settings:
            if not hasattr(BertConfig(), name):
                raise self._refusal(f"no setting {name}")
        try:
            return BertConfig(vocab_size=vocabulary, **self.settings)
        except StrictDataclassError as error:
            raise self._refusal(" ".join(str(error).split())) from error

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(
            f"model.source.settings: expected settings of BertConfig, found {self.settings} "
            f"({reason}); mend them"
        )


@dataclass(frozen=True)
class Pretrained:
    """A pretrained transformers encoder, from a directory or a model hub."""

    path: str | None  # a directory, or a model's name on the hub; None where none was given
    local: bool = False  # whether the path must be a directory
    settings: dict[str, Any] = field(default_factory=dict)  # changed in the encoder's own

    def __post_init__(self) -> None:
        there = self.path and (not self.local or (Path(self.path) / "config.json").is_file())
        if not there:
            found = "nothing" if self.path is None else f"no config.json in {self.path}"
            raise ModelError(
                f"model.path: expected the directory of a transformers encoder, found {found}; "
                "write model.path=DIR"
            )

    @property
    def name(self) -> str:
        """The last part of the path, and the settings that differ from the saved encoder's."""
        name = Path(str(self.path)).name
        changes = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{name} ({changes})" if changes else name

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer beside the encoder."""
        tokenizer: PreTrainedTokenizerBase = self._load(transformers.AutoTokenizer)
        return tokenizer

    def encoder(self) -> PreTrainedModel:
        """The pretrained encoder, in float32 whatever it was saved in.

        Where torch's default device is meta, no weights are read: tensors have only shapes there.
        """
        config = self._load(transformers.AutoConfig)
        for name, value in self.settings.items():
            if not hasattr(config, name):
                raise ModelError(
                    f"model.settings: expected settings of {type(config).__name__}, found {name}; "
                    "leave it out"
                )
            setattr(config, name, value)
        if "/" in str(config._attn_implementation):
            raise self._refusal("its attention is code from the hub")
        loader: Any = transformers.AutoModel
        if type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:  # T5's encoder alone
            loader = transformers.AutoModelForTextEncoding
        if torch.get_default_device().type == "meta":
            try:
                shapes: PreTrainedModel = loader.from_config(
                    config, trust_remote_code=False, dtype=torch.float32
                )
            except ValueError as error:
                raise self._refusal(first_line(error)) from error
            return shapes
        how = {"config": config, "dtype": torch.float32, "output_loading_info": True}
        encoder: PreTrainedModel
        encoder, report = self._load(loader, **how)
        if set(report["missing_keys"]) >= {name for name, _ in encoder.named_parameters()}:
            raise self._refusal(f"none of {type(encoder).__name__}'s weights are in it")
        if any(name.startswith("pooler.") for name in report["missing_keys"]):
            setattr(encoder, "pooler", None)  # noqa: B010 - nobody has trained it
        return encoder

    def trained_on(self) -> list[str]:
        """The data sets that its model card names."""
        return data_sets_of(str(self.path))

    def _load(self, loader: Any, **settings: Any) -> Any:
        """Load from disk if it is there; ask the hub only otherwise, and only if it answers."""
        shows: Any = transformers.utils.logging
        shown = shows.is_progress_bar_enabled()
        shows.disable_progress_bar()  # reading takes a second; a bar would break into the log
        try:
            return self._open(loader, local_files_only=True, **settings)
        except ModelError:
            if Path(str(self.path)).is_dir():
                raise
        finally:
            if shown:
                shows.enable_progress_bar()
        require_hub(f"model {self.path}", "write model=tiny, or model=local model.path=DIR")
        return self._open(loader, **settings)

    def _open(self, loader: Any, **settings: Any) -> Any:
        try:
            loaded = loader.from_pretrained(self.path, trust_remote_code=False, **settings)
        except Exception as error:
            # The libraries that read the parts of a checkpoint have no error in common.
            raise self._refusal(first_line(error)) from error
        if isinstance(loaded, PreTrainedTokenizerBase) and len(loaded) <= len(
            loaded.all_special_ids
        ):  # what transformers makes up where there are no files: every word is unknown to it
            raise self._refusal("there is no vocabulary")
        return loaded

    def _refusal(self, reason: str) -> ModelError:
        return ModelError(
            f"model.path: expected a transformers encoder with its tokenizer, found {self.path}, "
            f"which does not load ({reason}); write another model.path"
        )


def stacks_of(encoder: PreTrainedModel) -> list[nn.ModuleList]:
    """An encoder's lists of layers: one as a rule, and none in ALBERT, which has but one layer."""
    total = getattr(encoder.config, "num_hidden_layers", None)
    found: list[nn.ModuleList] = []
    inside = set[nn.Module]()
    for part in encoder.modules():  # from outside in: a layer of T5's is a list itself
        if isinstance(part, nn.ModuleList) and len(part) == total and part not in inside:
            found.append(part)
            inside.update(part.modules())
    return found


def check_layers(layers: Sequence[int], count: int) -> None:
    """Raise ModelError unless these are some of an encoder's layers, numbered from 0."""
    if not layers or min(layers) < 0 or max(layers) >= count:
        raise ModelError(
            f"model.adapter_layers: expected some of 0 to {count - 1}, the layers of the encoder, "
            f"found {list(layers)}; write model.adapter_layers=[{count - 1}]"
        )


def keep_first_layers(encoder: PreTrainedModel, count: int) -> None:
    """Cut an encoder down to its first layers; ALBERT then uses its one layer fewer times.

    Raises:
        ModelError: it has fewer, or does not say how many it has.
    """
    config, total = encoder.config, getattr(encoder.config, "num_hidden_layers", None)
    if not isinstance(total, int) or count > total:
        raise ModelError(
            f"model.layers: expected at most {total or 'as many layers as there are'}, found "
            f"{count}; write {f'model.layers={total}' if total else 'model.layers=null'}"
        )
    for layers in stacks_of(encoder):
        del layers[count:]
    if kinds := getattr(config, "layer_types", None):
        config.layer_types = kinds[:count]
    config.num_hidden_layers = count


EncoderSource = Tiny | Pretrained
"""What gives a tokenizer and, as often as asked, a fresh encoder."""


def data_sets_of(path: str) -> list[str]:
    """The data sets that the model card of an encoder names; none where no card can be read."""
    try:
        text = _card(path)
        if not text.lstrip().startswith("---"):  # no metadata, of which the library would warn
            return []
        card = ModelCard(text).data  # trained_on: our own cards' names for any data
    except Exception as error:  # cards are written by hand, and may be wrong in any way
        message = "%s: no model card that says what the encoder was trained on (%s)"
        log.info(message, path, first_line(error))
        return []
    named = [getattr(card, key, None) or [] for key in ("datasets", "trained_on")]
    flat = [n for names in named for n in (names if isinstance(names, list) else [names])]
    return [str(name) for name in flat if not isinstance(name, dict | list)]


def _card(path: str) -> str:
    """The card's text; the hub is asked only for what is neither a directory nor in the cache."""
    card: Any = Path(path) / constants.REPOCARD_NAME
    if not Path(path).is_dir():
        card = try_to_load_from_cache(path, constants.REPOCARD_NAME)
        if not isinstance(card, str):
            require_hub(f"model card of {path}", "nothing depends on it")
            return str(ModelCard.load(path))
    return Path(card).read_text("utf-8-sig") if Path(card).is_file() else ""
