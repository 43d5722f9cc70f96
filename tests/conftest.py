"""What holds for every test: one thread, no network, a cache of the tests' own."""

import atexit
import gc
import os
import shutil
import tempfile

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's libraries are imported
# Read when torch is: a fork of a process whose OpenMP has other threads waits for them for ever.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MTL_BERT_CACHE"] = tempfile.mkdtemp(prefix="cache-of-tests-")

atexit.register(shutil.rmtree, os.environ["MTL_BERT_CACHE"], ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Get ready to run tests, which the process that hands them out to others (-n 2) does not."""
    if not config.getoption("numprocesses", None) and not config.getoption("collectonly"):
        from tests import warm

        capture = config.pluginmanager.getplugin("capturemanager")
        capture.resume_global_capture()  # what forks write belongs to the tests that have them
        warm.serve_forks()
        capture.suspend_global_capture()


def pytest_collection_finish() -> None:
    """All is imported and stays: the collector need not go through it, here and in every fork."""
    gc.collect()
    gc.freeze()
