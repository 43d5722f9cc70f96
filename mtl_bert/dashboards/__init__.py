"""What W&B shows of runs and sweeps, as code: the workspaces and the report."""
