"""A module for each format of files: its class names the columns, and yields them a block of rows at a time."""
