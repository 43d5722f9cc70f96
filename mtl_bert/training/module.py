"""The Lightning shell around a step: it starts losses and optimizers, and decides nothing."""

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.profiler import record_function

from mtl_bert.data.batch import Batch, StepBatch
from mtl_bert.machine.signals import Interrupted, StopRequest
from mtl_bert.model import MultiTaskModel
from mtl_bert.runs.checkpoint import Position
from mtl_bert.runs.results import SkippedStep
from mtl_bert.sampling import Phase
from mtl_bert.surgery import Alone, AveragedRows, GradientMatrix, NonFiniteGradientError, Surgery
from mtl_bert.surgery.diagnostics import diagnose
from mtl_bert.training.evaluation import Evaluation, Predictions, evaluate
from mtl_bert.training.freezing import frozen_names
from mtl_bert.training.meters import ConflictMeter, LossMeter, layer_groups
from mtl_bert.training.optim import LossScale, order_generator, scaled_update, seed_dropout, unless
from mtl_bert.training.out_of_memory import Room
from mtl_bert.utils.errors import UserError

log = logging.getLogger(__name__)

UNREAD = {"cpu": 1}
UNREAD_ELSEWHERE = 16
"""Steps with one task whose outcome is read at once, so that a GPU is rarely waited for."""


class DivergedError(UserError):
    """Losses, gradients or predictions that are not finite."""


class MultiTaskModule(LightningModule):
    """Manual optimization of a multi-task model along a plan.

    Args:
        model: what is trained; its ``state_dict`` is the checkpoint's.
        surgery: combines the tasks' gradients in a joint step.
        optimizer: parameters -> optimizer, one for all phases.
        schedule: optimizer -> its learning-rate schedule, stepped once per step.
        seed: of everything random in a step.
        clip: largest norm of the combined gradient, or None.
        log_every: steps between two readings of the training losses.
        skip_limit: so many steps in a row without finite gradients end the run.
        layers_every: joint steps between two looks at the conflicts in each layer, from an epoch's
            first on, or None.
        fp16: gradients come from half precision and need a loss scale.
        room: says what to lower where memory does not suffice.

    Attributes:
        position: how far training has come.
        steps: taken or skipped since the run began.
        loaded_epoch: whose weights these are where nothing is trained.
        skipped: steps that had to be, their gradients not being finite.
        overflows: steps that fp16 could not hold; the loss scale is smaller after each.
        stop: whether somebody asked this process to stop.
        stopping: whether somebody asked any process.
        profiling: whether somebody looks at the parts of a step.
        axes: where training stands, for each row of metrics.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        surgery: Surgery,
        optimizer: Callable[[Any], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        *,
        seed: int,
        room: Room,
        clip: float | None = None,
        log_every: int = 50,
        skip_limit: int = 10,
        layers_every: int | None = None,
        fp16: bool = False,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.surgery = surgery
        self._losses, self._conflicts = LossMeter(), ConflictMeter()
        self.evaluation: Evaluation | None = None
        self.position, self.steps, self.loaded_epoch = Position(), 0, 0
        self.skipped: list[SkippedStep] = []
        self.overflows = 0
        self.stop, self.stopping = StopRequest(), False
        self.profiling = False
        self.axes: Callable[[], Mapping[str, float]] = dict
        self._optimizer, self._schedule = optimizer, schedule
        self._seed, self._clip, self._log_every = seed, clip, log_every
        self._skip_limit, self._skipped_in_a_row, self._diverged = skip_limit, 0, False
        self._unread: list[tuple[StepBatch, Alone]] = []
        self._room, self._layers_every = room, layers_every
        self._scale = LossScale(fp16)
        self._resumed: dict[str, Any] | None = None
        self._phase: Phase | None = None
        self._matrix = GradientMatrix([])
        self._parts: dict[str, list[int]] = {}
        self._rows: AveragedRows | None = None
        self._predictions = Predictions([])

    @property
    def losses(self) -> LossMeter:
        """The tasks' losses over the epoch and since the last reading."""
        self._settle()
        return self._losses

    @property
    def conflicts(self) -> ConflictMeter:
        """What the tasks did to each other over the epoch and since the last reading."""
        self._settle()
        return self._conflicts

    def configure_optimizers(self) -> Any:
        """One optimizer over all parameters; both of ARRP's phases share its moments."""
        optimizer = self._optimizer(self.model.parameters())
        return [optimizer], [{"scheduler": self._schedule(optimizer), "interval": "step"}]

    # What a checkpoint keeps of training, and how training goes on from it.

    def training_state(self, position: Position) -> dict[str, Any]:
        """Everything here that decides how training goes on from a position."""
        self._settle()
        within = position.step > 0
        losses = self._losses if within else LossMeter()
        conflicts = self._conflicts if within else ConflictMeter()
        return {
            "position": tuple(position),
            "steps": self.steps,
            "state_dict": self.state_dict(),
            "optimizer": self.trainer.optimizers[0].state_dict(),
            "scheduler": self._scheduler().state_dict(),
            "surgery": dict(self.surgery.method.memory),
            "loss_scale": self._scale.state(),
            "losses": losses.state(),
            "conflicts": conflicts.state(),
            "skipped": [step.model_dump() for step in self.skipped],
            "overflows": self.overflows,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a ``training_state`` when training begins."""
        self._resumed = state
        self.position, self.steps = Position(*state["position"]), state["steps"]
        self.load_state_dict(state["state_dict"])
        self.surgery.method.memory.update(state["surgery"])
        self._scale = LossScale(self._scale.enabled, state["loss_scale"])
        self.skipped = [SkippedStep(**step) for step in state["skipped"]]
        self.overflows = state["overflows"]

    def on_train_start(self) -> None:
        """Bring the optimizer and its schedule to where they were."""
        self.stop.listen_again()
        if self._resumed is not None:
            self.trainer.optimizers[0].load_state_dict(self._resumed["optimizer"])
            self._scheduler().load_state_dict(self._resumed["scheduler"])
        if self.trainer.world_size > 1:  # weights alike from the first step on
            for tensor in self.model.state_dict().values():
                dist.broadcast(tensor, 0)

    def on_train_epoch_start(self) -> None:
        """Forget the losses and the answers of the epoch before."""
        self._settle()
        self._losses = LossMeter(self._resumed and self._resumed["losses"])
        self._conflicts = ConflictMeter(self._resumed and self._resumed.get("conflicts"))
        self._resumed = None
        self.evaluation = None

    # Training: a step is joint (surgery) or one task's alone, as its phase says.

    def training_step(self, step: StepBatch, index: int) -> None:
        """Take one step of the plan: K forward and backward passes, surgery, one update."""
        if not step.step.rows:  # an epoch that was stopped before its validation
            return
        with self._room.for_step(step):
            self._take(step)

    def _take(self, step: StepBatch) -> None:
        seed_dropout(self._seed, step.epoch, step.number, self.global_rank)
        self._enter(step.phase)
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.zero_grad(set_to_none=True)
        self._backward(step)
        (self._joint if step.phase.surgery else self._alone)(step, optimizer)
        self.stopping = bool(self.stop) if self._rows is None else self._rows.hand
        self._end_step(step)

    def _backward(self, step: StepBatch) -> None:
        """One forward and backward per represented task, each into its row."""
        factor = step.phase.loss_scale * self._scale.value
        self._matrix.start(list(step.tasks))
        for task, batches in step.tasks.items():
            for batch in batches:
                with self._labelled(f"forward {task}"):
                    loss = self._loss(task, batch)
                with self._labelled(f"backward {task}"):
                    self._matrix.add(task, loss, step.share(task, batch), factor)
        if self._rows is not None:
            self._rows.hand = bool(self.stop)

    def _joint(self, step: StepBatch, optimizer: LightningOptimizer) -> None:
        """Surgery on the tasks' gradients and the update; the host waits for the Gram matrix."""
        self._settle()
        order = order_generator(self._seed, step.epoch, step.number)
        every = self._layers_every
        looked_at = self._parts if every and self._conflicts.several % every == 0 else {}
        try:
            with self._labelled("surgery"):
                combined = self._matrix.combine(self.surgery, order, self._scale.value, looked_at)
        except NonFiniteGradientError as error:
            self._skipped_step(step, error.tasks)
        else:
            self._update(optimizer, step.phase.update_scale)
            seen, phase = combined.seen, step.phase.name
            self._taken_step(dict(zip(seen.tasks, seen.losses.tolist(), strict=True)))
            self._conflicts.add(phase, diagnose(seen, combined.weights, combined.summed))
            self._conflicts.add_layers(phase, seen.tasks, combined.grams)

    def _alone(self, step: StepBatch, optimizer: LightningOptimizer) -> None:
        """One task's plain gradient and the update; the host waits for nothing."""
        alone = self._matrix.alone(self._scale.value)
        with unless(~alone.finite, optimizer.optimizer) as possible:
            if possible:
                self._update(optimizer, step.phase.update_scale)
        self._unread.append((step, alone))
        # The next fp16 step's scale depends on how this one went.
        at_once = 1 if self._scale.enabled else UNREAD.get(self.device.type, UNREAD_ELSEWHERE)
        if len(self._unread) >= at_once:
            self._settle()

    def _settle(self) -> None:
        """Read what became of the steps since the last reading, in one transfer."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        told = [torch.stack([a.loss.double(), a.norm.double(), a.finite]) for _, a in unread]
        read = torch.stack(told).tolist()
        for (step, alone), (loss, norm, finite) in zip(unread, read, strict=True):
            if finite:
                self._taken_step({alone.task: loss})
                self._conflicts.add_alone(step.phase.name, alone.task, norm)
            else:
                self._skipped_step(step, [alone.task])

    def _labelled(self, name: str) -> AbstractContextManager[object]:
        """Name a part of a step where somebody looks."""
        return record_function(name) if self.profiling else nullcontext()

    def _loss(self, task: str, batch: Batch) -> Tensor:
        outputs = self.model(task, batch)
        assert batch.labels is not None
        labels = batch.labels
        if labels.is_floating_point():
            labels = labels.to(outputs.dtype)
        with torch.autocast(outputs.device.type, enabled=False):
            loss: Tensor = self.model.tasks[task].loss(outputs, labels)
        return loss

    def _update(self, optimizer: LightningOptimizer, factor: float) -> None:
        with self._labelled("optimizer"):
            if self._clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
            with scaled_update(optimizer.optimizer, factor):
                optimizer.step()

    def _taken_step(self, losses: Mapping[str, float]) -> None:
        for task, loss in losses.items():
            self._losses.add(task, loss)
        self._scale.held()
        self._skipped_in_a_row = 0

    def _skipped_step(self, step: StepBatch, tasks: Sequence[str]) -> None:
        """Note a step that left everything but the plan's position and the schedule as it was."""
        if self._scale.overflowed():
            self.overflows += 1
            return
        rows = {task: step.step.rows[task].tolist() for task in tasks}
        self.skipped.append(SkippedStep(epoch=step.epoch, step=step.number, rows=rows))
        self._skipped_in_a_row += 1
        self._diverged |= self._skipped_in_a_row == self._skip_limit
        why = f"the loss or gradient of {', '.join(tasks)} is not finite"
        log.warning("epoch %d, step %d skipped: %s (rows %s)", step.epoch, step.number, why, rows)

    def _end_step(self, step: StepBatch) -> None:
        with warnings.catch_warnings():  # a first step that is skipped has no update before this
            warnings.filterwarnings(
                "ignore", message="Detected call of `lr_scheduler.step", category=UserWarning
            )
            self._scheduler().step()
        self.position, self.steps = Position(step.epoch, step.number + 1), self.steps + 1
        if self._diverged:
            raise DivergedError(
                f"epoch {step.epoch}, step {step.number}: expected finite losses and gradients, "
                f"found none in {self._skip_limit} steps in a row, last of "
                f"{', '.join(self.skipped[-1].rows)}; a lower lr usually helps"
            )
        if self.steps % self._log_every == 0:
            self._log_losses()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop where somebody asked to; callbacks have saved by now."""
        if self.stopping:
            raise Interrupted

    def _enter(self, phase: Phase) -> None:
        """Freeze what the phase freezes, and nothing else; make room for its gradients."""
        if phase == self._phase:
            return
        names = [name for name, _ in self.model.named_parameters()]
        frozen = frozen_names(phase.frozen, names)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        parameters = list(trained.values())
        if self.trainer.world_size > 1:
            reach = {t: [self.model.reaches(t, name) for name in trained] for t in self.model.tasks}
            self._rows = AveragedRows(parameters, reach)
        self._matrix = GradientMatrix(parameters, self._rows)
        self._parts = layer_groups(list(trained))
        # On a GPU the rows' number would have to be waited for, and zeros cost next to nothing.
        self.model.set_sparse_gradients(self._rows is None and self.device.type == "cpu")
        self._phase = phase

    def _scheduler(self) -> LRScheduler:
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, LRScheduler)
        return scheduler

    def _log_losses(self) -> None:
        metrics = {f"train/loss/{task}": value for task, value in self.losses.recent().items()}
        metrics |= self.conflicts.recent()
        metrics["train/lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        metrics |= self.axes()
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.steps)

    # Validation: collect every prediction, score them together.

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the evaluation before."""
        self.stop.listen_again()
        self._predictions = Predictions(list(self.model.tasks))

    def validation_step(self, step: StepBatch, index: int) -> None:
        """Predict one batch of dev examples."""
        # Lightning's own validations amid training still count versions of tensors.
        with self._room.for_answers(step), torch.inference_mode():
            for task, batches in step.tasks.items():
                for batch in batches:
                    outputs = self.model(task, batch)
                    self._predictions.add(task, batch, outputs, self.model.tasks[task].head)

    def on_validation_batch_end(
        self, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop where somebody asked to; of several processes none may leave the others alone."""
        if self.stop and self.trainer.world_size == 1:
            raise Interrupted

    def on_validation_epoch_end(self) -> None:
        """Score the dev sets; ``evaluation`` holds the answer until the next."""
        fitting = self.trainer.state.fn == TrainerFn.FITTING
        epoch = self.position.epoch if fitting else self.loaded_epoch
        finite, gathered = self._predictions.gather(self.trainer.world_size)
        if not finite:
            raise DivergedError(
                f"epoch {epoch}: expected finite predictions, found others; "
                "a lower lr usually helps"
            )
        self.evaluation = evaluate(epoch, list(self.model.tasks.values()), gathered)

    # A checkpoint's state_dict is the model's own, so that others can load it by name.

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's state."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load the model's state."""
        return self.model.load_state_dict(state_dict, strict=strict, assign=assign)
