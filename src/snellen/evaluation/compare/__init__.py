"""Paired experiments: plans, runs, statistics and words of `snellen compare` and `snellen reproduce`."""
