"""Experiments: configuration and presets, the strict notebook runner, what a run leaves behind, the report."""
