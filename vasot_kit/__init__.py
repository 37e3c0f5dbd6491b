"""The kit around ``vasot_lib``: the command ``vasot``, experiments, runs, figures, explorers, films, benchmarks."""
