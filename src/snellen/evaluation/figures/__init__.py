"""Figures, as matplotlib draws them for reports and docs."""
