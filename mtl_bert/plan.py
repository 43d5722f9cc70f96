"""Show what each epoch will see, without training: ``mtl-bert plan sampler=rr``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_bert.config.command_line import Composed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    from mtl_bert.config import command_line  # Hydra takes a moment to import

    command_line.run("plan", _show, arguments)


def _show(composed: "Composed") -> None:
    from omegaconf import OmegaConf

    from mtl_bert.config.compose import command_keys, place, read_settings
    from mtl_bert.config.settings import ConfigError
    from mtl_bert.memory.preview import preview
    from mtl_bert.utils.screen import Screen

    options: Any = OmegaConf.to_container(composed.config.plan)
    out = None if options["out"] is None else place("plan.out", options["out"])
    if (run := command_keys(composed.config)) is not None:
        raise ConfigError(
            f"resume: expected nothing, as a plan is of a whole run, found {run}; leave it out"
        )
    settings = read_settings(composed.config)
    shown = preview(settings, options["sizes"], by_length=out is not None)
    console = Screen()
    if out is not None:
        shown.write(out)
    console.print(shown)
    if out is not None:
        console.print(f"steps written to {out}", soft_wrap=True)
    for line in shown.memory():
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
