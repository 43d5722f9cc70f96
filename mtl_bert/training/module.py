"""The Lightning shell around a step: it starts losses and optimizers, and decides nothing."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mtl_bert.data.collate import StepBatch
from mtl_bert.errors import UserError
from mtl_bert.model import MultiTaskModel
from mtl_bert.sampling import Phase
from mtl_bert.surgery import GradientMatrix, NonFiniteGradientError, Surgery
from mtl_bert.training.evaluation import Evaluation, evaluate
from mtl_bert.training.freeze import frozen_names
from mtl_bert.training.losses import LossMeter
from mtl_bert.training.randomness import order_generator, seed_dropout


class DivergedError(UserError):
    """Losses or gradients that are not finite."""


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
    """

    def __init__(
        self,
        model: MultiTaskModel,
        surgery: Surgery,
        optimizer: Callable[[Any], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler],
        *,
        seed: int,
        clip: float | None = None,
        log_every: int = 50,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.surgery = surgery
        self.losses = LossMeter()
        self.evaluation: Evaluation | None = None
        self._optimizer, self._schedule = optimizer, schedule
        self._seed, self._clip, self._log_every = seed, clip, log_every
        self._phase: Phase | None = None
        self._matrix = GradientMatrix([])
        self._predictions: dict[str, list[Tensor]] = {}
        self._labels: dict[str, list[Tensor]] = {}
        self._rows: dict[str, list[Tensor]] = {}

    def configure_optimizers(self) -> Any:
        """One optimizer over all parameters; both of ARRP's phases share its moments."""
        optimizer = self._optimizer(self.model.parameters())
        return [optimizer], [{"scheduler": self._schedule(optimizer), "interval": "step"}]

    # Training: a step is joint (surgery) or one task's alone, as its phase says.

    def on_train_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self.losses = LossMeter()

    def training_step(self, step: StepBatch, index: int) -> None:
        """Take one step of the plan."""
        seed_dropout(self._seed, step.epoch, step.number, self.global_rank)
        self._enter(step.phase)
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        optimizer.zero_grad(set_to_none=True)
        if step.phase.surgery:
            self._joint_gradient(step)
        else:
            self._single_gradient(step)
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._clip)
        with _scaled_update(optimizer, step.phase.update_scale):
            optimizer.step()
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, LRScheduler)
        scheduler.step()
        self._log_losses()

    def _joint_gradient(self, step: StepBatch) -> None:
        """One forward and backward per represented task, then surgery on their gradients."""
        for task in step.tasks:
            self._matrix.add(task, self._loss(task, step) * step.phase.loss_scale)
        order = order_generator(self._seed, step.epoch, step.number)
        try:
            self._matrix.combine(self.surgery, order)
        except NonFiniteGradientError as error:
            raise DivergedError(f"epoch {step.epoch}, step {step.number}: {error}") from error

    def _single_gradient(self, step: StepBatch) -> None:
        """The plain gradient of the one task of the step, scaled by λ."""
        (task,) = step.tasks
        self.manual_backward(self._loss(task, step) * step.phase.loss_scale)

    def _loss(self, task: str, step: StepBatch) -> Tensor:
        batch = step.tasks[task]
        outputs = self.model(task, batch)
        assert batch.labels is not None
        labels = batch.labels
        if labels.is_floating_point():
            labels = labels.to(outputs.dtype)
        with torch.autocast(outputs.device.type, enabled=False):
            loss = self.model.tasks[task].loss(outputs, labels)
        self.losses.add(task, loss.detach())
        return loss

    def _enter(self, phase: Phase) -> None:
        """Freeze what the phase freezes, and nothing else; make room for its gradients."""
        if phase == self._phase:
            return
        names = [name for name, _ in self.model.named_parameters()]
        frozen = frozen_names(phase.frozen, names)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
        joint = [p for p in self.model.parameters() if p.requires_grad and phase.surgery]
        self._matrix = GradientMatrix(joint)
        # On a GPU the rows' number would have to be waited for, and zeros cost next to nothing.
        self.model.set_sparse_gradients(phase.surgery and self.device.type == "cpu")
        self._phase = phase

    def _log_losses(self) -> None:
        if self.global_step % self._log_every:
            return
        recent = self.losses.recent()
        self._refuse_divergence(recent)
        metrics = {f"train/loss/{task}": value for task, value in recent.items()}
        metrics["train/lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.global_step)

    def _refuse_divergence(self, losses: Mapping[str, float]) -> None:
        for task, loss in losses.items():
            if not math.isfinite(loss):
                raise DivergedError(
                    f"epoch {self.current_epoch + 1}: expected finite losses, found {loss} for "
                    f"{task}; a lower lr usually helps"
                )

    # Validation: collect every prediction, score them together.

    def on_validation_epoch_start(self) -> None:
        """Forget the predictions of the evaluation before; refuse to score a model of NaNs."""
        self._refuse_divergence(self.losses.epoch())
        for collected in (self._predictions, self._labels, self._rows):
            collected.clear()
            collected.update({task: [] for task in self.model.tasks})

    def validation_step(self, step: StepBatch, index: int) -> None:
        """Predict one batch of dev examples."""
        for task, batch in step.tasks.items():
            assert batch.labels is not None
            outputs = self.model(task, batch)
            self._predictions[task].append(self.model.tasks[task].head.predict(outputs))
            self._labels[task].append(batch.labels)
            self._rows[task].append(batch.rows)

    def on_validation_epoch_end(self) -> None:
        """Score the dev sets; ``evaluation`` holds the answer until the next."""
        epoch = self.current_epoch + 1 if self.trainer.state.fn == TrainerFn.FITTING else 0
        self.evaluation = evaluate(
            epoch,
            list(self.model.tasks.values()),
            self._in_order(self._predictions),
            self._in_order(self._labels),
        )

    def _in_order(self, collected: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """Bring what batches gave back into the order of the dev sets."""
        return {
            task: torch.cat(parts)[torch.cat(self._rows[task]).argsort()]
            for task, parts in collected.items()
        }

    # A checkpoint's state_dict is the model's own, so that others can load it by name.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the surgery's method remembers."""
        checkpoint["surgery"] = dict(self.surgery.method.memory)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remind the surgery's method."""
        self.surgery.method.memory.update(checkpoint["surgery"])

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's state."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load the model's state."""
        return self.model.load_state_dict(state_dict, strict=strict, assign=assign)


@contextmanager
def _scaled_update(optimizer: LightningOptimizer, factor: float) -> Iterator[None]:
    """Scale the optimizer's whole update, weight decay included, for one step."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor
    yield
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
