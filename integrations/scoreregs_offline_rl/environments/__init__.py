"""Gymnasium environments, and those of D4RL's AntMaze tasks."""
