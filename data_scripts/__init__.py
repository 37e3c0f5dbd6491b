"""One script per data set: fetch or import it, check it, write it in the layout of the field."""
