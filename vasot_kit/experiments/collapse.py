"""Says that a training collapsed: the embeddings of all frames are nearly equal, and nothing can be read from them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

# Of the results that the repository stores, HVQ's and SMQ's left out, one training collapsed: cosine .999, rank 1.3.
# All others have a rank of 3.2 or more; a large cosine alone is common where embeddings are not scaled to unit length.
# HVQ and SMQ collapse as a rule (docs/results.md).
COSINE, RANK = 0.95, 2.0


def warn_of_collapse(history: Sequence[Mapping[str, float]]) -> bool:
    """Warn where the embeddings after the last epoch are nearly equal, and say whether they are.

    Args:
        history: as :func:`vasot_lib.training.fit` returns it.
    """
    last = history[-1] if history else {}
    cosine, rank = last.get("mean_cosine", 0.0), last.get("effective_rank", RANK)
    if cosine < COSINE or rank >= RANK:
        return False
    warnings.warn(
        f"the training collapsed: the embeddings of all frames are nearly equal (mean cosine {cosine:.2f}, effective "
        f"rank {rank:.1f}), so its results mean nothing; use another --seed",
        stacklevel=1,
    )
    return True
