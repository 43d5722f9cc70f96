"""What a command line comes to, composed as Hydra composes it, without a process of its own."""

from collections.abc import Sequence
from functools import cache

from hydra import compose, initialize_config_dir

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


@cache
def settings_of(*overrides: str) -> Settings:
    """The checked settings of a command line, which says where files are by absolute paths."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return read_settings(compose("train", list(overrides)))
