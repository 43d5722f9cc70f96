"""Where a number came from: commit, device, versions."""

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from mtl_bert import __version__

PACKAGES = (
    "torch",
    "lightning",
    "transformers",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
)


def commit() -> str | None:
    """The commit of the program's own checkout, or None where it is installed from a wheel."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "status", "--porcelain=v2", "--branch"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    (head,) = re.findall(r"^# branch.oid (\w+)$", told, re.MULTILINE)
    return f"{head}+dirty" if re.search(r"^[^#]", told, re.MULTILINE) else head


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's and its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo, name = Path("/proc/cpuinfo"), platform.processor() or platform.machine()
    if cpuinfo.exists():
        told = cpuinfo.read_text(encoding="utf-8", errors="replace")
        model = re.search(r"^model name\s*: (.*)$", told, re.MULTILINE)
        name = model[1].strip() if model else name
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    own = {"python": platform.python_version(), "mtl-bert": __version__}  # perhaps not installed
    return own | {name: version(name) for name in PACKAGES}
