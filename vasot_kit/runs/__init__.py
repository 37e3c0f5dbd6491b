"""Running experiments: one notebook, a grid of notebooks, many trainings, one training; and what each leaves behind."""
