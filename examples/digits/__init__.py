"""A diffusers model of handwritten digits, fit in minutes, as a prior of four recipes."""
