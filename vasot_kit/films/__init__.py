"""Recordings as pictures: read, describe without a network, gather as a data set."""
