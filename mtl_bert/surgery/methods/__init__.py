"""One file for each way to weight the tasks' gradients."""
