"""Settings: described once, composed by Hydra, checked, named."""
