"""What a run will take of memory, known before it begins."""
