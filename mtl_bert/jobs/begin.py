"""From the words of a command line to a run, or to its plan."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mtl_bert.config.command_line import Composed, compose
from mtl_bert.config.compose import made_by, read_settings, settings_to_resume
from mtl_bert.memory.preview import Preview, preview
from mtl_bert.utils.errors import UserError
from mtl_bert.utils.logging import plain_messages
from mtl_bert.utils.validation import SamplerError


def train(overrides: Sequence[str], out: str | Path | None = None) -> Path:
    """Carry out a run as ``mtl-bert train`` does, and return its directory.

    Args:
        overrides: such as ``["sampler=arrp", "lambda=0.5"]``; ``resume=DIR`` goes on with a run.
        out: the run's directory; None makes one below ``runs``.

    Raises:
        UserError: something is wrong; nothing has been written then.
        SystemExit: with code 75 when a signal has stopped the run.
    """
    composed = compose("train", overrides)
    plain_messages()
    try:
        return begin(composed if out is None else replace(composed, directory=Path(out)))
    except SamplerError as error:
        raise UserError(str(error)) from error


def plan(overrides: Sequence[str], sizes: Mapping[str, int] | None = None) -> Preview:
    """The plans of a run, from the words that ``mtl-bert train`` would take.

    Args:
        overrides: such as ``["sampler=rr", "epochs=1"]``.
        sizes: training examples of each task; no data is read then.

    Raises:
        UserError: settings or sizes that are wrong, or data that cannot be had.
    """
    return preview(read_settings(compose("train", overrides).config), sizes)


def begin(composed: Composed) -> Path:
    """Carry out a new run in its directory, or go on with the one that ``resume`` names.

    Returns:
        The run's directory.

    Raises:
        UserError: something is wrong; nothing has been written then.
    """
    config, directory = composed.config, composed.directory
    if config.resume is None:
        settings = made_by(read_settings(config), composed.overrides)
    else:
        directory = Path(str(config.resume))
        settings = settings_to_resume(config, directory, composed.overrides)
    # Torch takes seconds to import: settings that are wrong are refused before that.
    from mtl_bert.training.run import run

    run(settings, directory)
    return directory
