"""What training means: losses, metrics, one LightningModule a task, run folders."""
