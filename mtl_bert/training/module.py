"""The Lightning shell around a step: it takes steps, logs them, and keeps what resuming needs."""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mtl_bert.data.batch import Batch
from mtl_bert.machine.signals import Interrupted, StopRequest
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.checkpoint import Position
from mtl_bert.sampling import Seen
from mtl_bert.sampling.history import History
from mtl_bert.sampling.loader import PlanStep
from mtl_bert.surgery import Surgeon
from mtl_bert.tasks import score
from mtl_bert.training.datamodule import PlanDataModule
from mtl_bert.training.evaluation import Evaluation, Predictions
from mtl_bert.training.meters import layer_groups
from mtl_bert.training.out_of_memory import OutOfMemory
from mtl_bert.training.passes import Passes
from mtl_bert.training.step import take_step
from mtl_bert.training.step_log import StepLog


class MultiTaskModule(LightningModule):
    """Manual optimization of a multi-task model along a plan.

    Attributes:
        position: how far training has come.
        steps: taken or skipped since the run began.
        loaded_epoch: the epoch that loaded weights come from, where nothing is trained.
        stop: whether somebody asked this process to stop.
        stopping: whether somebody asked any process.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        surgeon: Surgeon,
        optimizer: Callable[[Any], Optimizer],
        schedule: Callable[[Optimizer, int], LRScheduler],
        log: StepLog,
        out_of_memory: OutOfMemory,
        *,
        passes: Passes,
        seed: int,
        patience: int | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model, self.surgeon, self.step_log = model, surgeon, log
        self.evaluation: Evaluation | None = None
        self.position, self.steps, self.loaded_epoch = Position(), 0, 0
        self.stop, self.stopping = StopRequest(), False
        self._optimizer, self._schedule, self._out_of_memory = optimizer, schedule, out_of_memory
        self.passes, self._seed, self._patience = passes, seed, patience
        self._layers = layer_groups([name for name, _ in model.named_parameters()])
        self._resumed: dict[str, Any] | None = None
        self._predictions: Predictions

    def configure_optimizers(self) -> Any:
        """One optimizer over all that is trained; both of ARRP's phases share its moments."""
        named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        optimizer = self._optimizer(named)
        self._start_schedule(optimizer, self._datamodule.start.epoch)
        return optimizer

    @property
    def _datamodule(self) -> PlanDataModule:
        datamodule: PlanDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return datamodule

    def _start_schedule(self, optimizer: Optimizer, epoch: int) -> None:
        steps = self._datamodule.stage_steps(min(epoch, self._datamodule.epochs))
        self._scheduler = self._schedule(optimizer, steps)

    def remember_epoch(self) -> None:
        """Note what the epoch that ends has shown, for samplers that look back; once."""
        history, epoch = self._datamodule.history, self.position.epoch
        if len(history) < epoch:
            found = self.evaluation.scores.tasks if self.evaluation else {}
            scores = {task: of_task.rising for task, of_task in found.items()}
            sums = self.step_log.epoch
            losses, norms = sums.losses(), sums.squared_norms()
            history.append(
                {t: Seen(scores.get(t), losses.get(t), norms.get(t)) for t in self.model.tasks}
            )

    def patience_is_over(self, history: History) -> bool:
        """Whether the score has not risen for as many scorings as the run waits."""
        if self._patience is None:
            return False
        tasks, scores = list(self.model.tasks.values()), list[float]()
        for epoch in history:
            values = {
                task.name: -rising if task.lower_is_better else rising
                for task in tasks
                if (rising := epoch[task.name].score) is not None
            }
            scores += [score(tasks, values)] if values else []
        return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= self._patience

    # What a checkpoint keeps of training, and how training goes on from it.

    def training_state(self, position: Position) -> dict[str, Any]:
        """Everything here that decides how training goes on from a position."""
        return {
            "position": tuple(position),
            "steps": self.steps,
            "passes": self.passes.state(),
            "state_dict": self.model.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "surgeon": self.surgeon.state_dict(),
            "log": self.step_log.state(within=position.step > 0),
            "history": [{t: tuple(s) for t, s in of.items()} for of in self._datamodule.history],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a ``training_state`` when training begins."""
        self._resumed = state
        self.position, self.steps = Position(*state["position"]), state["steps"]
        self.passes.resume(*state["passes"])
        self.model.load_state_dict(state["state_dict"])
        self.surgeon.load_state_dict(state["surgeon"])
        self.step_log.resume(state["log"])

    def on_train_start(self) -> None:
        """Bring the optimizer and its schedule to where they were."""
        self.stop.listen_again()
        if self._resumed is not None:
            self.trainer.optimizers[0].load_state_dict(self._resumed["optimizer"])
            self._scheduler.load_state_dict(self._resumed["scheduler"])
        # On a GPU the rows' number would have to be waited for, and zeros cost next to nothing.
        self.model.set_sparse_gradients(self.device.type == "cpu")

    def on_train_epoch_start(self) -> None:
        """Forget the epoch before; Lightning counts from where a run was resumed, the plan not."""
        self.step_log.begin_epoch()
        self._resumed = self.evaluation = None
        epoch, start = self._datamodule.epoch, self._datamodule.start
        self.trainer.limit_val_batches = float(self._datamodule.is_scored(epoch))
        within = epoch == start.epoch and start.step > 0
        if self._datamodule.starts_over(epoch) and not within:
            optimizer = self.trainer.optimizers[0]
            optimizer.state.clear()
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            self._start_schedule(optimizer, epoch)

    def on_train_epoch_end(self) -> None:
        """Note what it has shown; in the process that records runs the recorder came before."""
        self.remember_epoch()
        self.trainer.should_stop |= self.patience_is_over(self._datamodule.history)

    def training_step(self, step: PlanStep[Batch], index: int) -> None:
        """Take one step of the plan."""
        if not step.tasks:  # an epoch that was stopped before its validation
            return
        optimizer: Any = self.optimizers()  # Lightning's wrapper, which counts the steps
        self.surgeon.stop_requested = bool(self.stop)
        with self._out_of_memory.in_step(step, one_pass=self.passes.one):
            result = take_step(
                self.model,
                self.surgeon,
                optimizer,
                step,
                seed=self._seed,
                rank=self.global_rank,
                one_pass=self.passes.one,
                one_pass_cost=self.passes.cost,
                same_texts=self._datamodule.same_texts,
                parts=self._layers if self.step_log.layers_due() else None,
            )
        self.stopping = self.surgeon.stop_requested
        self.step_log.add(step, result)
        self._scheduler.step()
        self.position, self.steps = Position(step.epoch, step.number + 1), self.steps + 1
        self.step_log.check(step)

    def on_train_batch_end(self, *_: Any) -> None:
        """Stop where somebody asked to; callbacks have saved by now."""
        if self.stopping:
            raise Interrupted

    # Validation: collect every prediction, score them together.

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the evaluation before."""
        self.stop.listen_again()
        self._predictions = Predictions(list(self.model.tasks.values()))

    def validation_step(self, step: PlanStep[Batch], index: int) -> None:
        """Predict one batch of dev examples."""
        # Lightning's own validations amid training still count versions of tensors.
        with self._out_of_memory.in_validation(step), torch.inference_mode():
            for task, batch in step.batches.items():
                outputs = self.model(task, batch)
                self._predictions.add(self.model.tasks[task], batch, outputs)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Stop where somebody asked to; of several processes none may leave the others alone."""
        if self.stop and self.trainer.world_size == 1:
            raise Interrupted

    def on_validation_epoch_end(self) -> None:
        """Score the dev sets; ``evaluation`` holds the answer until the next."""
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        epoch = self.position.epoch if fitting else self.loaded_epoch
        self.evaluation = self._predictions.evaluate(epoch, self.trainer.world_size)
