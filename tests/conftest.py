"""What holds for every test: one thread, no network, a cache of the tests' own."""

import atexit
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub's libraries are imported
os.environ["MTL_BERT_CACHE"] = tempfile.mkdtemp(prefix="cache-of-tests-")

import torch

torch.set_num_threads(1)

atexit.register(shutil.rmtree, os.environ["MTL_BERT_CACHE"], ignore_errors=True)
