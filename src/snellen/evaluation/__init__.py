"""Scores, figures, the HTML report, and records of results."""
