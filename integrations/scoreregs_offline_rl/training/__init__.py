"""The loop that every stage runs in: steps, randomness, checkpoints, signals, health."""
