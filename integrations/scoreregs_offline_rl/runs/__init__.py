"""A run and its directory: configuration, presets, pipeline, results."""
