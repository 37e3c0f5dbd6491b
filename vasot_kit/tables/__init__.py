"""Tables about runs: scores, paired comparisons, ablations, and the report of the tutorial."""
