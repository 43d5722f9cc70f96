"""The Lightning shell: it starts, shows, stores and stops."""

from mtl_bert.training.optim import schedule

__all__ = ["schedule"]
