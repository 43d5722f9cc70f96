"""What a command line comes to, composed as Hydra composes it, without a process of its own."""

from functools import cache

from hydra import compose, initialize_config_dir

from mtl_bert.config.compose import CONF, read_settings
from mtl_bert.config.settings import Settings


def surgery_words(name: str) -> tuple[str, ...]:
    """How a command line chooses a surgery, with what it cannot do without."""
    return (f"surgery={name}", *(("surgery.method.main=sst",) if name == "pcd" else ()))


@cache
def settings_of(*overrides: str) -> Settings:
    """The checked settings of a command line, which says where files are by absolute paths."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return read_settings(compose("train", list(overrides)))
