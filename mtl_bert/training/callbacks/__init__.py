"""What watches a run: its books, its checkpoints, its progress bar, its profile."""
