"""A comparison in words: one plain sentence each, and the table on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snellen.evaluation.compare.comparison import Comparison

__all__ = ["ALPHA", "amount", "comparison_in_words", "duration", "gain_sentence"]

#: Adjusted p values up to this one are called a difference.
ALPHA = 0.05


def amount(value: float) -> str:
    """A number with two places, or two digits that count where it is smaller than a hundredth.

    >>> amount(0.314), amount(-0.00123), amount(0.0)
    ('0.31', '-0.0012', '0.00')
    """
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2g}"


def duration(seconds: float | None) -> str:
    """A time as people say it."""
    if seconds is None:
        return "not known"
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _points(unit: str) -> str:
    """Differences of shares are points."""
    if unit == "%":
        return "points"
    return f"points ({unit})" if unit.startswith("%") else unit


def gain_sentence(
    row: str,
    against: str,
    gain: float,
    interval: Sequence[float],
    p_adjusted: float,
    *,
    unit: str,
    count: int = 1,
    time_ratio: float | None = None,
) -> str:
    """One comparison in words.

    Args:
        row: what is judged.
        against: what it is compared with.
        gain: how much better it is, below 0 worse.
        interval: of the gain, 95 %.
        p_adjusted: for the number of comparisons.
        unit: of the gain.
        count: how many comparisons there are.
        time_ratio: of the training times, by steps timed side by side.

    >>> gain_sentence("lift", "max", 0.31, (0.05, 0.58), 0.02, unit="%", time_ratio=1.4)
    'lift beats max by 0.31 points, 95 % interval 0.05 to 0.58, at 1.4x the training time.'
    >>> gain_sentence("avg", "max", 0.1, (-0.2, 0.4), 0.6, unit="%")
    'No difference between avg and max can be seen: interval -0.20 to 0.40 points.'
    """
    low, high = interval
    points = _points(unit)
    cost = ""
    if time_ratio is not None:
        cost = (
            ", at the same training time" if 0.95 <= time_ratio < 1.05 else f", at {time_ratio:.2g}x the training time"
        )
    if low <= 0 <= high:
        span = f"interval {amount(low)} to {amount(high)} {points}"
        return f"No difference between {row} and {against} can be seen: {span}{cost}."
    better = gain > 0
    size, ends = abs(gain), sorted((abs(low), abs(high)))
    span = f"95 % interval {amount(ends[0])} to {amount(ends[1])}"
    if p_adjusted > ALPHA:
        among = f" among {count} comparisons" if count > 1 else ""
        return (
            f"{row} may be {'better' if better else 'worse'} than {against}, by {amount(size)} {points}, {span}{cost}; "
            f"but{among} that can be chance (p = {p_adjusted:.2g})."
        )
    verb = "beats" if better else "is worse than"
    return f"{row} {verb} {against} by {amount(size)} {points}, {span}{cost}."


def comparison_in_words(comparison: "Comparison") -> str:
    """What the command line prints: the table, a sentence each comparison, and what to know."""
    c = comparison
    width = max(len(r.name) for r in c.rows)
    lines = [f"{c.title}: {c.metric} in {c.unit}, {c.split} split, {c.images:,} {c.things}"]
    for r in c.rows:
        spread = f" ± {amount(r.spread)}" if r.spread is not None else ""
        work = "" if r.macs is None else f"{r.macs / 1e6:>9,.1f} MMAC  "
        work += "" if r.milliseconds is None else f"{r.milliseconds:>8.2f} ms  "
        work += "" if r.step_milliseconds is None else f"{r.step_milliseconds:>8.1f} ms a step  "
        lines.append(
            f"  {r.name:<{width}}  {amount(r.mean) + spread:<15}  {r.parameters:>11,} parameters  {work}"
            f"trained in {duration(r.train_seconds)}"
        )
    return "\n".join([*lines, *(g.sentence for g in c.gains), *c.notes, *c.failures])
