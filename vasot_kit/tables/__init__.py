"""What is told about runs: tables of scores, paired comparisons, ablations, the report of the tutorial."""
