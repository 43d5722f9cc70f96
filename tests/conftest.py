"""What holds for every test: one thread, no network, a cache of the tests' own."""

import atexit
import gc
import multiprocessing
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's libraries are imported
# Read when torch is: a fork of a process whose OpenMP has other threads waits for them for ever.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MTL_BERT_CACHE"] = tempfile.mkdtemp(prefix="cache-of-tests-")


from tests import warm

# Of the server of processes, whoever is the first to want one.
multiprocessing.set_forkserver_preload(["mtl_bert.training.run", warm.__name__])

atexit.register(shutil.rmtree, os.environ["MTL_BERT_CACHE"], ignore_errors=True)


def pytest_collection_finish() -> None:
    """All is imported and stays: the collector need not go through it, here and in every fork."""
    gc.collect()
    gc.freeze()
