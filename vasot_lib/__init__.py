"""Video alignment and action segmentation by fused Gromov-Wasserstein optimal transport (Ali et al., ICCV 2025)."""

__version__ = "0.1.0"
