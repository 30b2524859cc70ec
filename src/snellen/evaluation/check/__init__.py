"""`snellen check`: what stands in a user's annotations and images, before anything is trained on them."""

from snellen.evaluation.check.check import CheckReport, Finding, RankSuspects, check_data
from snellen.evaluation.check.progress import CheckProgress
from snellen.evaluation.check.proposal import propose_recipe, swap_pairs
from snellen.evaluation.check.sheet import contact_sheet
from snellen.evaluation.check.structure import DenoiserRanking

__all__ = [
    "CheckProgress",
    "CheckReport",
    "DenoiserRanking",
    "Finding",
    "RankSuspects",
    "check_data",
    "contact_sheet",
    "propose_recipe",
    "swap_pairs",
]
