"""Films on disk: reading and writing them, features of their frames, and films as a data set."""
