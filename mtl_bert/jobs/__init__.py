"""Sweeps that waste no run: what there is to do, what is done, and one process for each job."""
