"""Gradient surgery in anybody's training loop: collect each task's gradient, combine, update."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn
from torch.amp import GradScaler
from torch.nn import Parameter
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.profiler import record_function

from mtl_bert.surgery.distributed import AveragedRows
from mtl_bert.surgery.freezing import freezing
from mtl_bert.surgery.gradients import GradientMatrix, Surgery
from mtl_bert.surgery.methods.base import Method
from mtl_bert.surgery.methods.plain import Weighting
from mtl_bert.surgery.result import NonFiniteGradientError, StepResult
from mtl_bert.surgery.rows import Tasks
from mtl_bert.surgery.update import SharedScale, scaled_update, skipped_if
from mtl_bert.utils.validation import number

Parameters = nn.Module | Mapping[str, Parameter] | Iterable[tuple[str, Parameter]]
"""A module, or parameters by name: ``model.named_parameters()``, ``{"w": w}``."""

How = Surgery | Method | Callable[[Tensor], Tensor]
"""A method of ours, one with its scope and reduction, or a weighting [K, K] -> [K]."""


FAR = 0x9E3779B1  # 2**32 by the golden ratio, so that multiples lie apart


class PhaseLike(Protocol):
    """What the surgeon asks of a phase; ``mtl_bert.Phase`` has it."""

    @property
    def surgery(self) -> bool: ...  # noqa: D102
    @property
    def lambda_(self) -> float: ...  # noqa: D102
    @property
    def lambda_on(self) -> str: ...  # noqa: D102
    @property
    def frozen(self) -> Sequence[str]: ...  # noqa: D102


class Surgeon:
    """Turns the gradients of several tasks into one update, in a training loop of your own.

        surgeon = Surgeon(model, PCGrad())
        with surgeon.step(optimizer):  # on leaving: combine, clip, update
            for task, batch in batches.items():
                surgeon.backward(task, loss_of(task, batch))
        print(surgeon.last.losses, surgeon.last.cosines)

    A step whose losses or gradients are not finite is skipped as a whole and named in ``last``.
    With several processes (torch.distributed) each task's gradient is averaged over them before
    surgery; do not wrap the model in DistributedDataParallel, which would average after it.

    Args:
        parameters: a module, or named parameters. Those that are frozen are left alone; those that
            a task does not reach take no part in its gradient.
        method: ``PCGrad()`` or another method, a ``Surgery`` (a method with its scope and
            reduction), or a weighting from a Gram matrix [K, K] to weights [K], as TorchJD has.
        gradient_clip_val: largest norm of the combined gradient; None does not clip.
        scaler: torch's GradScaler for fp16; one scale for all tasks.
        process_group: the processes that train together; None is all of them, if there are several.
        reach: whether a task's loss can depend on the parameter of that name, the same in every
            process. It saves memory and traffic with several processes; None is always.
        seed: of whatever the method draws.
        task_weights: factors on tasks' gradients, before the method sees them; 1 where none is
            given. A method that looks at directions alone (NashMTL, DBMTL) undoes them in what
            tasks share. ``last``, and methods that look at losses, have these without factors.

    Raises:
        ValueError: a method that is none, or a weighting that remembers.
    """

    def __init__(
        self,
        parameters: Parameters,
        method: How,
        *,
        gradient_clip_val: float | None = None,
        scaler: GradScaler | None = None,
        process_group: dist.ProcessGroup | None = None,
        reach: Callable[[str, str], bool] | None = None,
        seed: int = 0,
        task_weights: Mapping[str, float] | None = None,
    ) -> None:
        for task, weight in (task_weights or {}).items():
            number(f"task_weights[{task!r}]", weight, 0.5, exclusive=True)
        self._task_weights = task_weights or {}
        self._module = parameters if isinstance(parameters, nn.Module) else None
        self._parameters = named(parameters)
        self.surgery = surgery_of(method)
        self.scale = SharedScale(scaler)
        self._scaler, self._clip, self._seed = scaler, gradient_clip_val, seed
        self._group, self._reach = process_group, reach
        self._steps, self._broadcasted = 0, False
        self._trained: dict[str, Parameter] = {}
        self._partly = set[Parameter]()
        self._matrix = GradientMatrix([])
        self._rows: AveragedRows | None = None
        self._phase: PhaseLike = PLAIN
        self._open = self._together = False
        self._last: StepResult | None = None
        self.stop_requested = False

    @property
    def last(self) -> StepResult:
        """The step before.

        Raises:
            RuntimeError: there was none.
        """
        if self._last is None:
            raise RuntimeError("Surgeon.last: expected a step before it, found none")
        return self._last

    @property
    def processes(self) -> int:
        """How many train together."""
        return dist.get_world_size(self._group) if dist.is_initialized() else 1

    @contextmanager
    def step(
        self,
        optimizer: Optimizer | None,
        phase: PhaseLike | None = None,
        *,
        tasks: Tasks | None = None,
        by_layer: bool = False,
        generator: Generator | None = None,
        parts: Mapping[str, Sequence[str]] | None = None,
        epoch: int | None = None,
    ) -> Iterator["Surgeon"]:
        """Take a step: collect gradients within the context, update on leaving it.

        An error inside leaves parameters and optimizer as they were.

        Args:
            optimizer: of the parameters, or a wrapper with ``.optimizer`` (Lightning, accelerate).
                None leaves the update to you: the step fills ``grad``, or clears it where the step
                is to be skipped.
            phase: what the plan says of the step: whether there is surgery, λ, what is frozen. None
                is surgery with nothing frozen.
            tasks: of the step, in order, the same in every process. None takes them as they come.
                Of several processes each sends a task's gradient while it computes the next, if it
                is told how many losses it will have of each: ``{"a": 1, "b": 0}``.
            by_layer: send not task by task but layer by layer, as ``one_pass`` has them; the same
                in every process.
            generator: of what the method draws; None derives it from seed and number of the step.
            parts: names of parameters whose Gram matrices are wanted by themselves, by any name.
            epoch: its number, from 1, for the methods that look at epochs (DWA, STCH).

        Raises:
            FreezeError: the phase leaves nothing to train.
            ValueError: no gradient was added.
        """
        if self.processes > 1 and not self._broadcasted:
            self._broadcast()
        self._phase = PLAIN if phase is None else phase
        with freezing(self._parameters, self._phase.frozen) as trained:
            self._make_room(trained)
            self._matrix.start(tasks or (), by_layer)
            self._clear()
            if optimizer is not None:
                optimizer.zero_grad(set_to_none=True)
            self._open = True
            try:
                yield self
                self._finish(optimizer, generator, parts or {}, epoch)
            finally:
                self._open = False
                self._matrix.start(())
        self._steps += 1

    def backward(
        self,
        task: str | Mapping[str, Tensor],
        loss: Tensor | None = None,
        share: float | Mapping[str, float] | None = None,
    ) -> None:
        """Go backward through a task's loss, into the task's own gradient.

        Several calls for one task add up: give each its share of the task's examples.

        Args:
            task: its name; or losses by task that share one graph (a text with several labels).
            loss: a mean over examples.
            share: those examples by all of the task's in this step, over all calls and processes
                (``PlanStep.shares`` has it); by default one divided by the number of processes.

        Raises:
            RuntimeError: outside of ``step``, or a loss that reaches no trained parameter.
        """
        if not self._open:
            raise RuntimeError("Surgeon.backward: expected to be called within Surgeon.step")
        losses, shares = dict[str, Tensor](), dict[str, float]()
        given = task if isinstance(task, Mapping) else {task: loss}
        for name, value in given.items():
            if not isinstance(value, Tensor) or not value.requires_grad:
                found = "one that depends on none of them"
                if not isinstance(value, Tensor):
                    found = "none" if value is None else f"a {type(value).__name__}"
                raise RuntimeError(
                    f"Surgeon.backward: expected a loss of {name} that depends on trained "
                    f"parameters, found {found}; leave the task out of this step, or freeze less"
                )
            part = share[name] if isinstance(share, Mapping) else share
            losses[name], shares[name] = value, 1 / self.processes if part is None else part
        scales = {name: self._factor * self._task_weights.get(name, 1.0) for name in losses}
        with record_function(f"backward {', '.join(losses)}"):
            if self._together:
                self._matrix.add_together(losses, shares, scales)
                return
            for place, (name, each) in enumerate(losses.items(), 1):
                retain = place < len(losses)
                self._matrix.add(name, each, shares[name], scales[name], retain_graph=retain)

    @contextmanager
    def one_pass(
        self, trunk: nn.Module, examples: Mapping[str, int], tokens: Mapping[str, int] | None = None
    ) -> Iterator[None]:
        """Within a step, take several tasks at once through a part of the model that they share.

            with surgeon.step(optimizer), surgeon.one_pass(encoder, {"a": 8, "b": 4}):
                features = encoder(torch.cat([a, b]))  # one forward and one backward pass
                loss_a, loss_b = loss(features[:8]), loss(features[8:])
                surgeon.backward({"a": loss_a, "b": loss_b})

        The tasks' gradients are those of a pass for each, to rounding, and several times cheaper
        where batches are small. Dropout draws one mask for all.

        Args:
            trunk: of layers that ``one_pass.RULES`` knows, looking at each example by itself.
            examples: how many of each task follow one another in the first dimension.
            tokens: how many of each task follow one another, where layers see sequences end to end.

        Raises:
            RuntimeError: outside of ``step``.
            ValueError: the trunk has another type of layer with parameters.
        """
        if not self._open:
            raise RuntimeError("Surgeon.one_pass: expected to be called within Surgeon.step")
        with self._matrix.one_pass(trunk, examples, tokens):
            self._together = True
            try:
                yield
            finally:
                self._together = False

    def state_dict(self) -> dict[str, Any]:
        """What another surgeon needs to go on: the method's memory, the scale, the steps so far.

        With them ``partly``, the parameters that some task was seen not to reach.
        """
        return {
            "steps": self._steps,
            "partly": [name for name, p in self._parameters.items() if p in self._partly],
            "memory": dict(self.surgery.method.memory),
            "scaler": {} if self._scaler is None else self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state_dict``."""
        self._steps = int(state["steps"])
        self._partly.clear()
        self._partly.update(self._parameters[name] for name in state.get("partly", ()))
        self.surgery.method.memory.clear()
        self.surgery.method.memory.update(state["memory"])
        if self._scaler is not None and state["scaler"]:
            self._scaler.load_state_dict(dict(state["scaler"]))

    @property
    def _factor(self) -> float:
        """The factor on every loss of the step: λ, and the fp16 scale that is taken out again."""
        on_loss = self._phase.lambda_on == "loss"
        return (self._phase.lambda_ if on_loss else 1.0) * self.scale.value

    def _broadcast(self) -> None:
        """Give every process the first one's weights, as DistributedDataParallel does."""
        tensors = self._parameters if self._module is None else self._module.state_dict()
        first = 0 if self._group is None else dist.get_global_rank(self._group, 0)
        for tensor in tensors.values():
            dist.broadcast(tensor.detach(), first, group=self._group)
        self._broadcasted = True

    def _make_room(self, trained: dict[str, Parameter]) -> None:
        """Keep the matrix of the step before if the same parameters are trained, else a new one."""
        if self._trained.keys() == trained.keys():
            return
        parameters, self._rows = list(trained.values()), None
        if self.processes > 1:
            tables = [place for place, p in enumerate(parameters) if id(p) in self._tables()]
            self._rows = AveragedRows(parameters, self._reached_by(trained), self._group, tables)
        self._matrix = GradientMatrix(parameters, self._rows, self._partly)
        self._trained = trained

    def _tables(self) -> set[int]:
        """The identities of embeddings whose gradients come sparse, as far as the module tells."""
        parts = () if self._module is None else self._module.modules()
        return {id(m.weight) for m in parts if isinstance(m, nn.Embedding) and m.sparse}

    def _reached_by(self, trained: Iterable[str]) -> Callable[[str], list[bool]]:
        """A task -> whether its loss can depend on each of the parameters."""
        reach = self._reach or (lambda task, name: True)
        names = list(trained)
        return lambda task: [reach(task, name) for name in names]

    def _finish(
        self,
        optimizer: Optimizer | None,
        generator: Generator | None,
        parts: Mapping[str, Sequence[str]],
        epoch: int | None,
    ) -> None:
        """Combine the gradients, clip, and update."""
        if self._rows is not None:
            self._rows.stop_requested = self.stop_requested
        result = self._last = self._combined(generator, parts, epoch)
        if self._phase.surgery or optimizer is None:
            if result.skipped:
                self._clear()
            else:
                self._update(optimizer)
        else:  # nothing is waited for, but with an fp16 scale
            with skipped_if(result.missing, unwrapped(optimizer)) as possible:
                if possible:
                    self._update(optimizer)
        if self.scale.in_use:  # the next step's scale depends on how this one went
            if result.skipped:
                result.overflowed = self.scale.overflowed()
            else:
                self.scale.held()
        if self._rows is not None:
            self.stop_requested = self._rows.stop_requested

    def _combined(
        self,
        generator: Generator | None,
        parts: Mapping[str, Sequence[str]],
        epoch: int | None,
    ) -> StepResult:
        """Fill ``grad``: by surgery, for whose Gram matrix the host waits, or with one gradient."""
        if not self._phase.surgery:
            return self._matrix.alone(self.scale.value)
        if generator is None:
            # Torch's generator looks at 32 bits of a seed: seeds begin far apart, steps follow on.
            place = (FAR * self._seed + self._steps) % 2**32
            generator = torch.Generator().manual_seed(place)
        places = {name: place for place, name in enumerate(self._trained)}
        wanted = {
            part: [places[name] for name in names if name in places]
            for part, names in parts.items()
        }
        with record_function("surgery"):
            return self._matrix.combine(self.surgery, generator, self.scale.value, wanted, epoch)

    def _update(self, optimizer: Optimizer | None) -> None:
        factor = self._phase.lambda_ if self._phase.lambda_on == "update" else 1.0
        with record_function("optimizer"):
            if self._clip is not None:
                clip_grad_norm_(self._parameters.values(), self._clip)
            if optimizer is not None:
                with scaled_update(unwrapped(optimizer), factor):
                    optimizer.step()
            elif factor != 1:
                raise ValueError(
                    f"Surgeon.step: expected an optimizer in a phase whose λ={factor:g} is on the "
                    "update, found None; write surgeon.step(optimizer, phase)"
                )

    def _clear(self) -> None:
        for parameter in self._parameters.values():
            parameter.grad = None


class _PlainPhase:
    """Surgery, nothing frozen, λ = 1: what a step without a plan is."""

    surgery, lambda_, lambda_on, frozen = True, 1.0, "loss", ()


PLAIN = _PlainPhase()


def backward(
    losses: Mapping[str, Tensor] | Sequence[Tensor],
    parameters: Parameters | Iterable[Parameter],
    method: How,
    *,
    generator: Generator | None = None,
) -> StepResult:
    """Fill ``grad`` with the combination of several losses' gradients, in one line.

        backward([loss_a, loss_b], model.parameters(), PCGrad())
        optimizer.step()

    The losses may share one graph. Parameters that none of them reaches keep ``grad is None``.

    Args:
        losses: K of them, by task or numbered.
        parameters: a module, or parameters with or without names.
        method: as for ``Surgeon``.
        generator: of what the method draws; None is torch's default.

    Raises:
        NonFiniteGradientError: naming the tasks whose loss or gradient is not finite.
    """
    if not isinstance(losses, Mapping):
        losses = {str(number): loss for number, loss in enumerate(losses)}
    trained = [p for p in named(parameters).values() if p.requires_grad]
    matrix = GradientMatrix(trained)
    matrix.start(list(losses))
    for place, (task, loss) in enumerate(losses.items(), 1):
        # Not freed: whether several graphs are one, nobody can tell.
        matrix.add(task, loss, retain_graph=place < len(losses))
    result = matrix.combine(surgery_of(method), generator)
    if result.skipped:
        raise NonFiniteGradientError(result.skipped)
    return result


def surgery_of(method: How) -> Surgery:
    """A method with its scope and reduction, out of what people give.

    Raises:
        ValueError: it is none of those.
    """
    if isinstance(method, Surgery):
        return method
    if isinstance(method, Method):
        return Surgery(method)
    if type(method).__module__.startswith("torchjd."):
        from mtl_bert.surgery.methods.torchjd import TorchJD  # an extra

        return Surgery(TorchJD(cast(Any, method)))
    if callable(method) and not isinstance(method, type):
        return Surgery(Weighting(method))
    raise ValueError(
        f"method: expected a method such as PCGrad(), or a function from a Gram matrix to weights, "
        f"found {method!r}; write for example Surgeon(model, PCGrad())"
    )


def named(parameters: Parameters | Iterable[Parameter]) -> dict[str, Parameter]:
    """Parameters by name, each once; numbered where they come without names.

    Raises:
        ValueError: there are none.
    """
    pairs: Iterable[Any]
    if isinstance(parameters, nn.Module):
        pairs = parameters.named_parameters()
    elif isinstance(parameters, Mapping):
        pairs = parameters.items()
    else:
        pairs = list(parameters)
        if all(isinstance(each, Tensor) for each in pairs):
            pairs = [(str(number), each) for number, each in enumerate(pairs)]
    found = dict(pairs)
    if not found:
        raise ValueError(
            "parameters: expected a module with parameters, or named parameters, found none; "
            "write for example Surgeon(model, PCGrad())"
        )
    return found


def unwrapped(optimizer: Optimizer) -> Optimizer:
    """The optimizer itself, out of a wrapper of Lightning's or accelerate's."""
    inner: Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner
