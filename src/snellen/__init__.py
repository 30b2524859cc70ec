"""Snellen: vision models that must know where things are."""
