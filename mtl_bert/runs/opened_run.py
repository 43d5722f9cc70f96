"""A finished run, opened again from Python: what it reached, and its answers to new texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mtl_bert.config.run_key import key_of
from mtl_bert.config.saved import saved_settings
from mtl_bert.config.settings import ConfigError, Settings
from mtl_bert.runs.factories import make, make_tasks
from mtl_bert.runs.results import Results, RunFolder, Scores
from mtl_bert.utils.errors import UserError, first_line

if TYPE_CHECKING:
    import pandas as pd  # training starts half a second sooner without
    from torch import nn

    from mtl_bert.runs.text_model import TextModel


@dataclass(frozen=True)
class OpenedRun:
    """A finished run, without the ways to give its model away; see ``mtl_bert.Run``.

    Attributes:
        path: its folder.
        settings: its own, but for one process on whatever device there is here.
        results: what it reached, and how.
        checkpoint: whose weights answer: those of the ``best`` epoch, of the ``last``, or of a
            task's own best, by its name (``trainer.best_per_task``).
    """

    path: Path
    settings: Settings
    results: Results
    checkpoint: str = "best"

    @classmethod
    def open(
        cls,
        path: str | Path,
        checkpoint: str = "best",
        *,
        data_dir: str | Path | None = None,
        model_path: str | Path | None = None,
        trust: str | Path | None = None,
    ) -> Self:
        """Open a run by its folder.

        Args:
            path: the folder.
            checkpoint: best, last or a task.
            data_dir: where the data lie, if not where the run found them.
            model_path: where the encoder lies, if not where the run found it.
            trust: the folder again, where its configuration may call others' code.

        Raises:
            ConfigError: the folder holds no finished run, or a damaged one.
        """
        folder = RunFolder(Path(path))
        if folder.config.is_file() and not folder.results.is_file():
            raise ConfigError(
                f"run: expected the folder of a finished run, found one that has not ended in "
                f"{path}; write mtl-bert train resume={path}"
            )
        if not folder.results.is_file():
            raise ConfigError(
                f"run: expected the folder of a finished run, found no {folder.results.name} in "
                f"{path}; write for example runs/2026-01-31/12-00-00-arrp-seed1"
            )
        try:
            results = folder.read_results()
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{folder.results}: expected the results of a run, found something else "
                f"({first_line(error)}); write the folder of another run"
            ) from error
        settings = saved_settings(folder.config, trust=trust)
        if set(settings.tasks) != set(results.tasks):
            raise ConfigError(
                f"{folder.results}: expected {', '.join(settings.tasks)}, the tasks in "
                f"{folder.config.name}, found {', '.join(results.tasks)}; write another run"
            )
        own = [task for task in settings.tasks if task in results.best_of_tasks]
        if checkpoint not in ("best", "last", *own):
            raise ConfigError(
                f"--checkpoint: expected {', '.join(['best', *own])} or last, found "
                f"{checkpoint!r}; write --checkpoint best"
                + ("" if own else ", or train with trainer.best_per_task=true")
            )
        here: dict[str, Any] = {"accelerator": "auto", "devices": 1, "num_nodes": 1}
        trainer = settings.trainer.model_copy(update=here)
        changes: dict[str, Any] = {"run_key": key_of(settings), "trainer": trainer}
        for group, name, value in (("data", "dir", data_dir), ("model", "path", model_path)):
            if value is None:
                continue
            chosen = getattr(settings, group)
            if name not in chosen.source:
                raise ConfigError(
                    f"{group}.{name}: expected no value, as the run's {group} has none, found "
                    f"{value}; leave it out"
                )
            source = {**chosen.source, name: str(value)}
            changes[group] = chosen.model_copy(update={"source": source})
        return cls(folder.path, settings.model_copy(update=changes), results, checkpoint)

    @property
    def folder(self) -> RunFolder:
        """Where its files lie."""
        return RunFolder(self.path)

    @property
    def recorded(self) -> Scores:
        """What the run recorded of the checkpoint's epoch."""
        found = self.results
        if self.checkpoint == "best":
            return Scores(epoch=found.best_epoch, score=found.score, tasks=found.tasks)
        return found.last if self.checkpoint == "last" else found.best_of_tasks[self.checkpoint]

    def metrics(self) -> "pd.DataFrame":
        """A row for each epoch and task.

        Columns:
            epoch: counted from 1.
            task: its name.
            metric: the name of the task's metric, for example accuracy.
            value: the metric on the dev set; NaN where the epoch was not scored.
            n: dev examples that it was measured on; NaN likewise.
            score: the epoch's, the mean over tasks of the metrics mapped to 0..1; NaN likewise.
            loss: mean training loss; NaN where the epoch did not train the task.
            examples: training examples of the task in the epoch, repeats included.
            unique: different ones among them.
            seconds: wall clock of the epoch's training over all tasks, validation excluded.
        """
        import pandas as pd

        rows = []
        for epoch in self.results.epochs:
            for task, final in self.results.tasks.items():
                scored = (epoch.tasks or {}).get(task)
                value, n = (scored.value, scored.n) if scored else (None, None)
                used, loss = epoch.utilisation[task], epoch.losses.get(task)
                scores = (epoch.epoch, task, final.metric, value, n, epoch.score, loss)
                rows.append((*scores, used.examples, used.unique, epoch.seconds))
        scores_of = ["epoch", "task", "metric", "value", "n", "score", "loss"]
        frame = pd.DataFrame(rows, columns=[*scores_of, "examples", "unique", "seconds"])
        return frame.astype(dict.fromkeys(("value", "n", "score", "loss"), float))

    def predictions(self, task: str) -> "pd.DataFrame":
        """The best epoch's answers to a task's dev set, in the order of the data's file.

        Columns: id, text (and text2 of a pair), label, prediction, and confidence: the probability
        that the model gave its prediction, NaN where there is none.

        Raises:
            UserError: a task that the run does not have, or a file that is missing, damaged or cut.
        """
        from mtl_bert.runs.answers import UnusableError, read_answers

        path = self.folder.predictions(self.known(task))
        try:
            found = read_answers(path)
        except UnusableError as error:
            raise UserError(
                f"{path}: expected the run's predictions, found none ({error}); open another run"
            ) from error
        n, cut = self.results.tasks[task].n, not path.read_bytes().endswith(b"\n")
        if len(found) != n or cut:
            raise UserError(
                f"{path}: expected {n:,} rows, as many as were scored, found {len(found):,}"
                f"{' and a cut line' if cut else ''}; copy the file again"
            )
        return found

    def predict(self, task: str, texts: Sequence[str | tuple[str, str]]) -> "pd.DataFrame":
        """The model's answers to new texts, a row for each: prediction, confidence and name.

        Args:
            task: one of the run's.
            texts: a text each, or both of a pair.

        Raises:
            UserError: a task that the run does not have, texts of another kind, or a model that
                does not load.
        """
        return self.predictor.predict(self.known(task), texts)

    @cached_property
    def predictor(self) -> "TextModel":
        """Its model, loaded to answer when it is first asked."""
        import torch  # takes seconds

        from mtl_bert.runs.text_model import make_text_model

        source = make(self.settings.model.source, "model.source")
        loaded = make_text_model(self.settings, make_tasks(self.settings), source)
        self.load_into(loaded.model)
        loaded.model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        return loaded

    def load_into(self, model: "nn.Module") -> None:
        """Give a model of the run's form the checkpoint's weights; UserError if that cannot be."""
        from mtl_bert.runs.checkpoint import CheckpointError, read  # torch takes seconds

        whole = self.checkpoint in ("best", "last")
        folder = self.folder
        path = (folder.checkpoint if whole else folder.checkpoint_of)(self.checkpoint)
        try:
            model.load_state_dict(read(path, key_of(self.settings))["state_dict"])
        except (CheckpointError, RuntimeError, TypeError) as error:
            reason = first_line(error.__cause__ or error)
            found = f"one that does not load ({reason})" if path.exists() else "none"
            other = "last" if self.checkpoint == "best" else "best"
            there = self.folder.checkpoint(other).exists()
            raise ConfigError(
                f"{path}: expected a checkpoint of this run, found {found}; "
                f"write {f'--checkpoint {other}' if there else 'another run'}"
            ) from error

    def known(self, task: str) -> str:
        """Return a task's name if the run has it; otherwise raise UserError."""
        if task not in self.settings.tasks:
            tasks = list(self.settings.tasks)
            raise UserError(
                f"task: expected one of {', '.join(tasks)}, which the run has, found {task!r}; "
                f"write for example {tasks[0]}"
            )
        return task
