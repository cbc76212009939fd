"""The checks of arguments: arrays, rows of scores, and parameters. What they refuse, and what the errors say."""
