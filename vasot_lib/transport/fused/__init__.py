"""The solver in few passes over memory: the numbers of ``reference.py``, from Numba on a CPU and Triton on a GPU."""
