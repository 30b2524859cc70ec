"""LightningModules, a file a task: loss, metrics, optimiser."""
