"""A person's own recordings, from films on disk to an alignment or a segmentation on disk; see the command line."""
