"""Composing the program's configuration in a test's own process."""

import pickle
from functools import cache

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.plugins.config_source import ConfigResult

from mtl_bert.config.compose import CONF, read_settings
from mtl_bert.config.settings import Settings

_load_config = FileConfigSource.load_config


@cache
def _own(provider: str, config_path: str) -> bytes:
    return pickle.dumps(_load_config(FileConfigSource(provider, str(CONF)), config_path))


def load_config(self: FileConfigSource, config_path: str) -> ConfigResult:
    """Read a file of our own once, which Hydra does for every command line."""
    if self.path != str(CONF):
        return _load_config(self, config_path)
    found: ConfigResult = pickle.loads(_own(self.provider, config_path))
    return found


FileConfigSource.load_config = load_config  # type: ignore[method-assign]


@cache
def settings_of(*overrides: str) -> Settings:
    """The checked settings of a command line, which says where files are by absolute paths."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return read_settings(compose("train", list(overrides)))
