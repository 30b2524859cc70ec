"""`snellen check`: what stands in a user's annotations and images, before anything is trained on them."""

from snellen.evaluation.check.check import CheckReport, Finding, check_data
from snellen.evaluation.check.proposal import propose_recipe, swap_pairs

__all__ = ["CheckReport", "Finding", "check_data", "propose_recipe", "swap_pairs"]
