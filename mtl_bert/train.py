"""Train: ``mtl-bert train sampler=arrp lambda=0.5 B=24000`` (``--help`` for more)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtl_bert.config.command_line import Composed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    from mtl_bert.config import command_line  # Hydra takes a moment to import

    command_line.run("train", _carry_out, arguments)


def _carry_out(composed: "Composed") -> float | None:
    if composed.in_sweep:
        from mtl_bert.jobs.hydra_callback import carry_out_job

        return carry_out_job(composed.config, composed.directory)
    run = composed.run()
    # Torch takes seconds to import: settings that are wrong are refused before that.
    from mtl_bert.training.run import run as carry_out

    carry_out(*run)
    return None


if __name__ == "__main__":
    main()
