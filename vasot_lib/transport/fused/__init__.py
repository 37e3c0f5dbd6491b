"""The solver in few passes over memory: the numbers of ``reference.py``, on the CPU by Numba, on a GPU by Triton."""
