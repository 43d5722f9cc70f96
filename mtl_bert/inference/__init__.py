"""Finished runs, opened again to answer."""
