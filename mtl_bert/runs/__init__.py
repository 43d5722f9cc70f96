"""What a run is: its folder, its results, its checkpoints."""
