"""Commands in the test's own process, as those of the command line's tests."""

from tests.cli.conftest import command

__all__ = ["command"]
