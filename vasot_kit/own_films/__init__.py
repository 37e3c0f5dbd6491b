"""A person's own recordings: alignment, segmentation and features of films, from files to files."""
