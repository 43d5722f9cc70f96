"""What a run asks of the machine: devices, processes, signals, GPUs to share."""
