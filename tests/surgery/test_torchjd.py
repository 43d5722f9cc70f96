import sys
from collections.abc import Callable

import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd import Stateful
from torchjd.aggregation import (
    AlignedMTLWeighting,
    CAGradWeighting,
    DualProjWeighting,
    FairGradWeighting,
    GradVacWeighting,
    IMTLGWeighting,
    PCDWeighting,
    UPGradWeighting,
    Weighting,
)

import mtl_bert.surgery
from mtl_bert.config.settings import ConfigError
from mtl_bert.surgery.methods.base import weights_of
from mtl_bert.surgery.methods.torchjd import TorchJD
from tests.composing import surgery_words
from tests.surgery.steps import method_of, random_rows, step, weigh

WEIGHTINGS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "aligned_mtl": AlignedMTLWeighting,
    "cagrad": lambda: CAGradWeighting(c=0.5),
    "dualproj": DualProjWeighting,
    "fairgrad": lambda: FairGradWeighting(alpha=1.0),
    "imtl_g": IMTLGWeighting,
    "upgrad": UPGradWeighting,
}

OWN = (
    *("pcgrad", "gradvac", "mgda", "nash_mtl", "gradnorm", "uncertainty", "group_dro", "rlw"),
    *("imtl_l", "geometric", "dwa", "stch", "db_mtl", "pcd"),
)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_configuration_asks_the_weighting_that_it_names(name: str) -> None:
    method = method_of(f"surgery={name}")
    for K in (2, 5):
        rows = random_rows(K, 7, K)
        expected = WEIGHTINGS[name]()(rows @ rows.T)
        torch.testing.assert_close(weigh(method, rows), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_short_gradients_are_weighed_as_long_ones(name: str) -> None:
    # TorchJD takes gradients whose squares sum to less than 1e-4 for zeros.
    method, rows = method_of(f"surgery={name}"), random_rows(3, 5, 4)
    short, long = (weigh(method, rows * scale) @ rows for scale in (1e-4, 1.0))
    torch.testing.assert_close(short / short.norm(), long / long.norm(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_aligned_mtl_gives_gradients_one_length_and_right_angles(seed: int) -> None:
    rows = random_rows(4, 7, seed)
    left, lengths, right = torch.linalg.svd(rows, full_matrices=False)
    expected = (lengths.min() * left @ right).mean(0)
    update = weigh(method_of("surgery=aligned_mtl"), rows) @ rows
    torch.testing.assert_close(update, expected)


def onto_dual_cone(vector: Tensor, rows: Tensor) -> Tensor:
    """The nearest vector that no row conflicts with."""
    forces, _ = nnls(rows.T.numpy(), -vector.numpy())
    return vector + torch.from_numpy(forces) @ rows


@pytest.mark.parametrize("seed", range(5))
def test_upgrad_is_the_mean_of_projections_and_dualproj_the_projection_of_the_mean(
    seed: int,
) -> None:
    rows = random_rows(4, 7, seed)
    projected = torch.stack([onto_dual_cone(row, rows) for row in rows]).mean(0)
    update = weigh(method_of("surgery=upgrad"), rows) @ rows
    torch.testing.assert_close(update, projected, rtol=0, atol=5e-3)
    update = weigh(method_of("surgery=dualproj"), rows) @ rows
    torch.testing.assert_close(update, onto_dual_cone(rows.mean(0), rows), rtol=0, atol=5e-3)


@pytest.mark.parametrize("seed", range(5))
def test_imtl_g_has_the_same_projection_onto_every_gradient(seed: int) -> None:
    rows = random_rows(4, 7, seed)
    weights = weigh(method_of("surgery=imtl_g"), rows)
    projections = rows / rows.norm(dim=1, keepdim=True) @ (weights @ rows)
    torch.testing.assert_close(projections, projections[:1].expand(4))
    assert float(weights.sum()) == pytest.approx(1)


def test_cagrad_without_a_radius_is_the_mean() -> None:
    method = method_of("surgery=cagrad", "surgery.method.weighting.c=0")
    weights = weigh(method, random_rows(4, 7, 1))
    torch.testing.assert_close(weights / weights.sum(), torch.full([4], 0.25, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(5))
def test_cagrad_serves_the_worst_task_best_within_c_of_the_mean(seed: int) -> None:
    rows = random_rows(3, 5, seed)
    mean = rows.mean(0)
    update = weigh(method_of("surgery=cagrad"), rows) @ rows
    radius = 0.5 * mean.norm()
    torch.testing.assert_close((update - mean).norm(), radius, rtol=1e-4, atol=0)
    directions = random_rows(2000, 5, seed + 50)
    others = mean + radius * directions / directions.norm(dim=1, keepdim=True)
    best = float((others @ rows.T).min(1).values.max())
    assert float((rows @ update).min()) >= best - 1e-6


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_fairgrad_satisfies_its_equation(alpha: float, scale: float) -> None:
    method = method_of("surgery=fairgrad", f"surgery.method.weighting.alpha={alpha}")
    rows = random_rows(4, 7, 0) * scale
    weights = weigh(method, rows)
    torch.testing.assert_close(rows @ rows.T @ weights, weights ** (-1 / alpha), rtol=1e-5, atol=0)


def test_fairgrad_without_alpha_is_the_mean() -> None:
    method = method_of("surgery=fairgrad", "surgery.method.weighting.alpha=0")
    assert weigh(method, random_rows(4, 7, 0)).tolist() == [0.25] * 4


@pytest.mark.parametrize("weighting", [PCDWeighting, GradVacWeighting])
def test_a_weighting_with_a_memory_is_refused(weighting: type[Weighting[Tensor]]) -> None:
    assert issubclass(weighting, Stateful)
    message = rf"expected one without a memory, found {weighting.__name__}; write .*surgery=upgrad"
    with pytest.raises(ValueError, match=message):
        TorchJD(weighting())
    target = f"torchjd.aggregation.{weighting.__name__}"
    with pytest.raises(ConfigError, match=message):
        method_of("surgery=upgrad", f"surgery.method.weighting._target_={target}")


def forget_torchjd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Python look for TorchJD again, and for what imports it."""
    for name in list(sys.modules):
        if name.split(".")[0] == "torchjd" or name == "mtl_bert.surgery.methods.torchjd":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(mtl_bert.surgery.methods, "torchjd")


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_without_torchjd_a_line_says_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_torchjd(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchjd", None)
    with pytest.raises(ConfigError, match=r"^surgery: expected .* found .*pip install") as error:
        method_of(f"surgery={name}")
    assert "pip install 'mtl-bert[torchjd]'" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "solver"), [("cagrad", "clarabel"), ("upgrad", "quadprog"), ("dualproj", "qpsolvers")]
)
def test_without_its_solver_a_line_says_how_to_install_it(
    name: str, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, solver, None)
    with pytest.raises(ConfigError, match=solver) as error:
        method_of(f"surgery={name}")
    assert "pip install 'mtl-bert[torchjd]'" in str(error.value)


def test_the_methods_of_the_project_itself_need_no_torchjd(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_torchjd(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchjd", None)
    for name in OWN:
        method = method_of(*surgery_words(name))
        assert weights_of(method, step(random_rows(2, 3, 0))).isfinite().all()
