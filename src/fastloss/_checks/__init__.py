"""Checks of arguments (arrays, rows of scores, and parameters), and the messages of their errors."""
