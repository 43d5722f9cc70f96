"""What a command line comes to, composed as Hydra composes it, without a process of its own."""

import pickle
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from mtl_bert.config.command_line import Composed, explained, readable
from mtl_bert.config.compose import CONF, read_settings
from mtl_bert.config.settings import Settings


def surgery_words(name: str) -> tuple[str, ...]:
    """How a command line chooses a surgery, with what it cannot do without."""
    return (f"surgery={name}", *(("surgery.method.main=sst",) if name == "pcd" else ()))


def sampler_words(name: str, tasks: Sequence[str]) -> tuple[str, ...]:
    """How a command line chooses a sampler, with what it cannot do without."""
    each = ", ".join(f"{task}: {1 / len(tasks):.3f}" for task in tasks)
    needed = {
        "dev_gap": (f"++sampler.single={{{each}}}",),
        "fixed": (f"++sampler.probabilities={{{each}}}",),
        "two_stage": ("epochs=2",),
    }
    return (f"sampler={name}", *needed.get(name, ()))


def config_of(*overrides: str) -> DictConfig:
    """What Hydra makes of a command line, unchecked."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return compose("train", list(overrides))


@cache
def settings_of(*overrides: str) -> Settings:
    """The checked settings of a command line, which says where files are by absolute paths."""
    return read_settings(config_of(*overrides))


def settings_with(config: DictConfig, word: str) -> Settings:
    """The settings with one more word, which Hydra would set like this."""
    [whole] = readable([word])
    override = OverridesParser.create().parse_override(whole)
    changed, value = pickle.loads(pickle.dumps(config)), override.value()  # a quick copy
    try:
        add = override.is_force_add()
        OmegaConf.update(changed, str(override.key_or_group), value, merge=True, force_add=add)
    except Exception as error:
        raise explained(HydraException(f"Error merging override {whole}")) from error
    return Composed(changed, Path("run"), ()).run()[0]
