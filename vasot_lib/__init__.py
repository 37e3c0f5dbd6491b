"""Video alignment and action segmentation by optimal transport: solver, methods, experiments."""

__version__ = "0.1.0"
