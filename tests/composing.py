"""Composing the program's configuration in a test's own process."""

from functools import cache

from hydra import compose, initialize_config_dir

from mtl_bert.config.compose import CONF, read_settings
from mtl_bert.config.settings import Settings


@cache
def settings_of(*overrides: str) -> Settings:
    """The checked settings of a command line, which says where files are by absolute paths."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return read_settings(compose("train", list(overrides)))
