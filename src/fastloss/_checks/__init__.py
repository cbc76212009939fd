"""Checks of arguments: of arrays, of rows of scores, and of parameters. They say what an error says."""
