"""What the tests of the integration share: one thread, and pictures where they are looked at."""

import torch

from tests.pictures import no_pictures, pictures

__all__ = ["no_pictures", "pictures"]

torch.set_num_threads(1)
