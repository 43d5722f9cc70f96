"""The Lightning shell: it starts, shows, stores and stops."""

from mtl_bert.training.optim import adamw, schedule

__all__ = ["adamw", "schedule"]
