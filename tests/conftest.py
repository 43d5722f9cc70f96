"""What holds for every test: one thread, no network, a cache of the tests' own."""

import atexit
import gc
import multiprocessing
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's libraries are imported
os.environ["MTL_BERT_CACHE"] = tempfile.mkdtemp(prefix="cache-of-tests-")

import torch

from tests import warm

torch.set_num_threads(1)

# Of the server of processes, whoever is the first to want one.
multiprocessing.set_forkserver_preload(["mtl_bert.training.run", warm.__name__])

atexit.register(shutil.rmtree, os.environ["MTL_BERT_CACHE"], ignore_errors=True)


def pytest_collection_finish() -> None:
    """All is imported and stays: the collector need not go through it, here and in every fork."""
    gc.collect()
    gc.freeze()
