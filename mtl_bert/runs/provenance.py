"""Where a number came from: commit, device, versions."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from mtl_bert import __version__

PACKAGES = (
    "torch", "lightning", "transformers", "torchmetrics", "hydra-core", "omegaconf",
    "numpy",
)  # fmt: skip


def commit() -> str | None:
    """The commit of the program's own checkout, or None where it is installed from a wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD")
        dirty = "+dirty" if _git(root, "status", "--porcelain") else ""
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + dirty


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's and its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    name = platform.processor() or platform.machine()
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        models = (line.split(":", 1)[1] for line in lines if line.startswith("model name"))
        name = next(models, name).strip()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    own = {"python": platform.python_version(), "mtl-bert": __version__}  # perhaps not installed
    return own | {name: version(name) for name in PACKAGES}
