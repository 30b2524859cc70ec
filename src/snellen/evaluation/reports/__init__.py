"""HTML reports, one template a task."""
