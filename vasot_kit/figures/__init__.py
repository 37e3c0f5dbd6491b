"""Every plot of the kit as a pure function that returns a matplotlib Figure.

An action has the same colour in every figure, and the background class is grey. The colours are Paul Tol's ``muted``
scheme, which is safe for colour-blind readers, in an order that alternates dark and light, so that neighbouring steps
also differ when printed in grey. From the tenth action on the colours are repeated with hatching (in bars) or another
marker (for points). Long segments also carry the number of their action.

In every signature ``background`` is the number of the background class, or None where there is none. The functions do
not touch the global state of pyplot; save a figure with ``vasot_kit.runs.records.save_figure``.
"""

from vasot_kit.figures.comparisons import plot_grid, plot_intervals, plot_sensitivity, plot_standings
from vasot_kit.figures.dummies import plot_detection, plot_kept, plot_room
from vasot_kit.figures.estimates import (
    plot_action_count,
    plot_action_length,
    plot_number_of_recordings,
    plot_radii,
    plot_shared_segments,
    plot_time_priors,
)
from vasot_kit.figures.films import plot_alignment, plot_clock, plot_timelines
from vasot_kit.figures.lessons import animate_plans, plot_deliveries, plot_method
from vasot_kit.figures.plans import plot_convergence, plot_marginals, plot_matched_frames, plot_plan
from vasot_kit.figures.runs import (
    plot_curves,
    plot_embedding_path,
    plot_history,
    plot_key_steps,
    plot_ratios,
    plot_scores,
    plot_segmentations,
)
from vasot_kit.figures.structures import plot_match_paths, plot_matrices, plot_weights
from vasot_kit.figures.style import action_style

__all__ = [
    "action_style",
    "animate_plans",
    "plot_action_count",
    "plot_action_length",
    "plot_alignment",
    "plot_clock",
    "plot_convergence",
    "plot_curves",
    "plot_deliveries",
    "plot_detection",
    "plot_embedding_path",
    "plot_grid",
    "plot_history",
    "plot_intervals",
    "plot_kept",
    "plot_key_steps",
    "plot_marginals",
    "plot_match_paths",
    "plot_matched_frames",
    "plot_matrices",
    "plot_method",
    "plot_number_of_recordings",
    "plot_plan",
    "plot_radii",
    "plot_shared_segments",
    "plot_time_priors",
    "plot_ratios",
    "plot_room",
    "plot_scores",
    "plot_segmentations",
    "plot_sensitivity",
    "plot_standings",
    "plot_timelines",
    "plot_weights",
]
