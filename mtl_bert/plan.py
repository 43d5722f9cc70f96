"""Show what each epoch will see, without training: ``mtl-bert plan sampler=rr``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    if options["compare"] is not None:
        _compare(composed, options)
        return
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


def _compare(composed: "Composed", options: Mapping[str, Any]) -> None:
    """Show what several samplers make of the same data."""
    from mtl_bert.config.command_line import with_sampler
    from mtl_bert.config.compose import read_job_settings
    from mtl_bert.config.settings import ConfigError, shown
    from mtl_bert.memory.comparison import compared
    from mtl_bert.memory.preview import preview
    from mtl_bert.utils.screen import Screen

    names = options["compare"]
    if not isinstance(names, list) or not names or options["out"] is not None:
        found = "plan.out as well" if options["out"] is not None else shown(names)
        raise ConfigError(
            f"plan.compare: expected a list of samplers and no plan.out, found {found}; "
            "write for example plan.compare=[rr,arrp,unimax]"
        )
    previews: list[Any] = []
    for name in names:
        settings, _ = read_job_settings(with_sampler(composed, "plan", name).config)
        previews.append(preview(settings, previews[0].sizes if previews else options["sizes"]))
        previews[-1] = replace(previews[-1], origin=previews[0].origin)
    Screen().print(compared(previews))


if __name__ == "__main__":
    main()
