"""A finished run, opened again from Python: what it reached, its answers, its model for others."""

from dataclasses import dataclass
from pathlib import Path

from mtl_bert.runs.opened_run import OpenedRun
from mtl_bert.utils.errors import UserError

FORMS = {"transformers": (), "onnx": ("int8",)}
"""What a model can be written as, and how it can be quantized there."""


@dataclass(frozen=True)
class Run(OpenedRun):
    """A finished run.

    Example::

        run = Run.open("runs/first")
        run.results.score
        run.metrics().pivot(index="epoch", columns="task", values="value")
        run.predict("sst", ["A fine film.", "A dull one."])

    Attributes:
        path: its folder.
        settings: its own, but for one process on whatever device there is here.
        results: what it reached, and how.
        checkpoint: whose weights answer: those of the ``best`` epoch, of the ``last``, or of a
            task's own best, by its name (``trainer.best_per_task``).
    """

    def save(
        self,
        out: str | Path,
        to: str = "transformers",
        *,
        task: str | None = None,
        quantize: str | None = None,
        apart: bool = False,
    ) -> list[str]:
        """Write the model as a directory for others, with its card, as ``mtl-bert export`` does.

        Args:
            out: a new or empty directory.
            to: ``transformers`` or ``onnx``.
            task: one task alone, for transformers as AutoModelForSequenceClassification; None
                stands for all heads.
            quantize: ``int8``, of onnx; None keeps float32.
            apart: leave LoRA's changes beside the encoder with all heads, as peft reads them.

        Returns:
            What there is to say of it.

        Raises:
            UserError: a model that does not load, or has no such form.
        """
        place = Path(out)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UserError(f"OUT: expected a new or empty directory, found {place}; write another")
        if to not in FORMS or quantize not in (None, *FORMS[to]):
            found = to if to not in FORMS else f"{to} with {quantize}"
            raise UserError(
                f"to: expected transformers, or onnx with quantize int8 or none, found {found}; "
                "write onnx"
            )
        adapter = self.settings.model.adapter
        if apart and (to == "onnx" or task is not None or not adapter.startswith("lora")):
            raise UserError(
                f"--apart: expected a run with LoRA, found model.adapter={adapter}"
                f"{' and one form' if adapter.startswith('lora') else ''}; leave it out"
            )
        tasks = None if task is None else [self.known(task)]
        if to == "onnx":  # torch takes seconds
            from mtl_bert.inference.onnx_export import export_onnx

            return export_onnx(self, place, tasks, quantize)
        from mtl_bert.inference.transformers_export import export, export_classifier

        if task is None:
            export(self, place, apart=apart)
        else:
            export_classifier(self, task, place)
        return []
