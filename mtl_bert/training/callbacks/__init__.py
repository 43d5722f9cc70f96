"""What watches a run: its record, its checkpoints, its progress bar, its profile."""
