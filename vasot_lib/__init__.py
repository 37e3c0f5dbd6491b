"""Video alignment and action segmentation by optimal transport: solver, methods, experiments."""

import os

# Threads that wait for each other shall sleep: spinning, libgomp's default, burns the time that a busy machine or a
# container with a quota has for work (seen: 3 ms against 400 ms a solve). Read when torch is loaded, so set before.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__version__ = "0.1.0"
