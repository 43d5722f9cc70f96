"""Train: ``python -m mtl_bert.train sampler=arrp lambda=0.5 B=24000`` (``--help`` for more)."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mtl_bert.config import command_line
from mtl_bert.config.compose import NO_SETTINGS, read_settings, saved_settings
from mtl_bert.config.settings import ConfigError, Settings, setting_names
from mtl_bert.jobs.hydra_callback import carry_out_job

NODES = {"task": "tasks"}
"""Where what a group gives stands, if not under the group's name."""


def main() -> None:
    """The command."""
    command_line.run("train", _run, keys=[*NO_SETTINGS, *setting_names()])


def _run(config: DictConfig, directory: Path) -> float | None:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return carry_out_job(config, directory)
    if config.resume is None:
        settings = read_settings(config)
    else:
        directory = Path(str(config.resume))
        settings = _settings_to_resume(config, directory, HydraConfig.get().overrides.task)
    # Torch takes seconds to import: settings that are wrong are refused before that.
    from mtl_bert.training.run import run

    run(settings, directory)
    return None


def _settings_to_resume(config: DictConfig, directory: Path, overrides: list[str]) -> Settings:
    """A run's own settings, and what the command line gives anew."""
    path = directory / "config.yaml"
    if not path.is_file():
        raise ConfigError(
            f"resume: expected the directory of a run, found no config.yaml in {directory}; "
            "write resume=DIR"
        )
    saved = OmegaConf.create(saved_settings(path).plain())
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0].partition("@")[0]
        if key != "resume":
            node = NODES.get(key, key)
            OmegaConf.update(saved, node, OmegaConf.select(config, node), force_add=True)
    return read_settings(saved)


if __name__ == "__main__":
    main()
