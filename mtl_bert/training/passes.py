"""Whether a step's tasks go through the encoder together or one after another."""

from dataclasses import dataclass, replace

from mtl_bert.config.settings import TrainerSettings
from mtl_bert.machine.hardware import on_gpu
from mtl_bert.model import MultiTaskModel
from mtl_bert.surgery.one_pass import obstacle


@dataclass(frozen=True)
class Passes:
    """How steps with several tasks go through the encoder.

    Attributes:
        one: all tasks together; else one after another.
        why: in words.
        chosen: by the program, as the settings leave it open.
    """

    one: bool
    why: str
    chosen: bool = False

    @property
    def way(self) -> str:
        """As ``trainer.passes`` has it."""
        return "one" if self.one else "per_task"

    def resumed(self, way: str) -> "Passes":
        """The same for a run that went a way so far, and keeps to it where it may choose."""
        if not self.chosen or way == self.way:
            return self
        return replace(self, one=way == "one", why="as the run began")

    def __str__(self) -> str:
        """A line of the log."""
        return f"{'one pass for all tasks' if self.one else 'a pass for each task'} ({self.why})"


def passes(trainer: TrainerSettings, model: MultiTaskModel) -> Passes:
    """Choose by what is the same in every run of one command: never by a stopwatch.

    Dropout draws other masks in one pass than in several, so the choice decides numbers.
    """
    layer = None if hasattr(model, "encoders") else obstacle(model.encoder)
    if hasattr(model, "encoders"):
        return Passes(False, "each has an encoder of its own")
    if layer is not None:
        return Passes(False, f"encoder.{layer} is of a type that one pass does not know")
    if trainer.passes != "auto":
        return Passes(trainer.passes == "one", f"trainer.passes={trainer.passes}")
    if not model.packs and not on_gpu(trainer.accelerator):
        return Passes(False, "together, shorter texts would be padded to the longest", chosen=True)
    return Passes(True, "trainer.passes=auto", chosen=True)
