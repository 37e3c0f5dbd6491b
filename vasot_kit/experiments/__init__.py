"""What one experiment is: its configuration and presets, the method built from it, and its scores."""
