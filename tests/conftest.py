"""Settings of every test process."""

import torch

# Tests run side by side (pytest -n 2): more threads would only fight for the cores.
torch.set_num_threads(1)
