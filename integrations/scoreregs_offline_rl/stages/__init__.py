"""The three stages and the baseline: networks, losses and optimisers."""
