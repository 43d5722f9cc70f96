"""The Lightning shell: it starts, shows, stores and stops."""

from mtl_bert.training.schedules import schedule

__all__ = ["schedule"]
