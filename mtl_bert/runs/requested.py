"""The run that a command line asks for: a new one, or one to go on with."""

from pathlib import Path

from mtl_bert.config.command_line import Composed
from mtl_bert.config.compose import saved_settings
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.runs.results import RunFolder


def requested(composed: Composed) -> tuple[Settings, Path]:
    """The settings and the folder of a new run, or of the one that ``resume`` names.

    Raises:
        ConfigError: no run is there to go on with, or settings that are wrong.
    """
    if composed.config.resume is None:
        return composed.settings(), composed.directory
    folder = RunFolder(Path(str(composed.config.resume)))
    if not folder.config.is_file():
        raise ConfigError(
            f"resume: expected the directory of a run, found no {folder.config.name} in "
            f"{folder.path}; write resume=DIR"
        )
    return composed.settings(saved_settings(folder.config)), folder.path
