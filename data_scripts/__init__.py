"""One script per data set, which downloads or imports it, checks it and writes it in the folder layout of the field."""
