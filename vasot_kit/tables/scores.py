"""Tables of scores and sentences about them: one run beside its baselines, an ablation over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from vasot_lib.errors import InputError, unknown_name


class Score(NamedTuple):
    """What a table has to know about a score.

    Attributes:
        title: of its column.
        sign: 1 if a larger value is better, -1 if a smaller one is.
    """

    title: str
    sign: int = 1


DIGITS = 12  # of the difference of two scores; what is beyond them is the rounding of sums

# Every score that ``evaluate`` can give, by its name in the rows.
ALL_SCORES: dict[str, Score] = {
    "mof": Score("MoF"),
    "f1": Score("F1"),
    "miou": Score("mIoU"),
    "ari": Score("ARI"),
    "edit": Score("Edit"),
    "f1_10": Score("F1@10"),
    "f1_25": Score("F1@25"),
    "f1_50": Score("F1@50"),
    "jsd": Score("JSD of lengths", -1),
    # For methods whose action k means something else in every video.
    "mof_video": Score("MoF per video"),
    "f1_video": Score("F1 per video"),
    "miou_video": Score("mIoU per video"),
    "acc_0.1": Score("Acc@0.1"),
    "acc_0.5": Score("Acc@0.5"),
    "acc_1.0": Score("Acc@1.0"),
    "progress": Score("Progress"),
    "tau": Score("Kendall's tau"),
    "ap_5": Score("AP@5"),
    "ap_10": Score("AP@10"),
    "ap_15": Score("AP@15"),
    "transfer": Score("Label transfer"),
    "matched": Score("Frames with a partner"),
    "frame_error": Score("Frame error", -1),
    "frame_error_p90": Score("Frame error, 90th percentile", -1),
    # The matches of all methods read from their embeddings in the same way.
    "transfer_nearest": Score("Transfer, nearest"),
    "frame_error_nearest": Score("Error, nearest", -1),
    "transfer_dtw": Score("Transfer, DTW"),
    "frame_error_dtw": Score("Error, DTW", -1),
}


def titles_of(*scores: str) -> dict[str, str]:
    """Score -> title, as the functions of this room take them."""
    return {score: ALL_SCORES[score].title for score in scores}


def sign_of(score: str) -> int:
    """1 if a larger value of the score is better, -1 if a smaller one is.

    Raises:
        InputError: an unknown score, of which nobody can say which of two values is better.
    """
    if score not in ALL_SCORES:
        raise unknown_name("score", score, ALL_SCORES)
    return ALL_SCORES[score].sign


# Task -> the scores of its table.
SCORES = {
    "Segmentation": titles_of("mof", "f1", "miou"),
    "Alignment": titles_of("acc_0.1", "acc_0.5", "acc_1.0", "progress", "tau", "ap_5", "ap_10", "ap_15"),
}
# The same with the scores of frame-to-frame matches.
TASKS: dict[str, dict[str, str]] = {**SCORES, "Matching": titles_of("transfer", "frame_error")}
PER_VIDEO = titles_of("mof_video", "f1_video", "miou_video")


def score_table(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> pd.DataFrame:
    """One line per method that has any of the scores, one column per score that any method has.

    Args:
        rows: with ``method`` and scores, as ``evaluate`` and ``baseline_rows`` give them.
        titles: score -> title of the scores to show, e.g. ``TASKS["Alignment"]``.

    Raises:
        InputError: no row names its method.
    """
    frame = pd.DataFrame(rows)
    if "method" not in frame:
        raise InputError(f"none of {len(frame)} rows has a 'method'; give rows as evaluate and baseline_rows do")
    return _known(frame.set_index("method"), titles).astype(float).dropna(how="all")


def verdicts(table: pd.DataFrame, method: str) -> list[str]:
    """One sentence of markdown per other line of a score table: in which scores the method is ahead of it or not.

    Args:
        table: as :func:`score_table` gives it.
        method: the line to compare with each of the others.

    Raises:
        InputError: the table has no line of the method, or several lines of one name.
    """
    lines = [str(line) for line in table.index]
    if method not in lines:
        raise InputError(f"the method is {method!r} but the table is of {', '.join(lines) or 'nothing'}; add it")
    twice = next((line for line in lines if lines.count(line) > 1), None)
    if twice is not None:
        raise InputError(f"the table has {lines.count(twice)} lines {twice!r}; give one, such as the mean over seeds")
    sentences = []
    for other in table.index.drop(method):
        pair = table.loc[[method, other]].dropna(axis=1)
        if pair.empty:
            continue
        ahead = [score for score in pair if _gain(pair[score], score) > 0]
        behind = [score for score in pair if score not in ahead]
        said = [f"is ahead of *{other}* in {_titles(ahead)}"] if ahead else []
        said += [f"is **not** ahead of *{other}* in {_titles(behind)}"] if behind else []
        sentences.append(f"**{method}** {' but '.join(said)}.")
    return sentences


def mean_and_spread(rows: Sequence[Mapping[str, Any]], by: str, titles: Mapping[str, str]) -> pd.DataFrame:
    """Mean and standard deviation over seeds as text, in 100 times the score; a single seed has no deviation.

    Args:
        rows: one per seed and value of ``by``, e.g. of ``run_study``.
        by: the column whose values are the lines of the table.
        titles: score -> title of the scores to show.
    """
    frame = pd.DataFrame(rows)
    scores = _known(frame, titles).columns
    groups = frame.groupby(by, sort=False)[list(scores)]
    mean, spread = 100 * groups.mean(), 100 * groups.std()
    cells = mean.map("{:.1f}".format) + spread.map(lambda value: "" if pd.isna(value) else f"\u00a0±\u00a0{value:.1f}")
    return cells.where(mean.notna(), "–").rename(columns=dict(titles)).rename_axis(index=None)


def paired_differences(
    rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], reference: str = "all"
) -> pd.DataFrame:
    """The score of each line minus that of the reference with the same seed, indexed by (line, seed).

    Both have the same first weights and the same sampled frames, so much of their random effect cancels.

    Args:
        rows: with ``line``, ``seed`` and scores.
        titles: the scores to show.
        reference: the line that the others are compared with.

    Raises:
        InputError: no row of the reference.
    """
    lines = list(dict.fromkeys(str(row["line"]) for row in rows))
    if reference not in lines:
        raise InputError(f"the reference is {reference!r} but the rows are of {', '.join(lines) or 'nothing'}; add it")
    frame = pd.DataFrame(rows).set_index(["line", "seed"])
    table = _known(frame, titles).astype(float)
    differences = table - table.loc[reference].reindex(table.index, level="seed")
    return differences.round(DIGITS).drop(index=reference, level="line")


def ablation_verdicts(differences: pd.DataFrame) -> list[str]:
    """One sentence of markdown per line: which scores it lowers or raises in every seed, and which differ in sign.

    Seeds that the reference or the line does not have are left out.

    Args:
        differences: as :func:`paired_differences` gives them.
    """
    sentences = []
    for line, group in differences.groupby(level="line", sort=False):
        group = group.dropna(how="all")  # first: else every score would go with a seed that the reference lacks
        group = group.dropna(axis="columns", how="any") if len(group) else group[[]]
        worse = [score for score in group if (group[score] < 0).all()]
        better = [score for score in group if (group[score] > 0).all()]
        equal = [score for score in group if (group[score] == 0).all()]
        mixed = [score for score in group if score not in worse + better + equal]
        seeds = "in every seed" if len(group) > 1 else "in the one seed"
        said = [f"lower {seeds}: {_titles(worse)}"] if worse else []
        said += [f"**higher** {seeds}: {_titles(better)}"] if better else []
        said += [f"sign depends on the seed: {_titles(mixed)}"] if mixed else []
        said += [f"the same {seeds}: {_titles(equal)}"] if equal else []
        sentences.append(f"*{line}* – {'; '.join(said) or 'no score in a seed of the reference'}.")
    return sentences


def _known(frame: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    return frame[[score for score in titles if score in frame and frame[score].notna().any()]]


def _gain(pair: pd.Series, score: str) -> float:
    return sign_of(score) * round(float(pair.iloc[0] - pair.iloc[1]), DIGITS)


def _titles(scores: Sequence[str]) -> str:
    return ", ".join(ALL_SCORES[score].title for score in scores)
