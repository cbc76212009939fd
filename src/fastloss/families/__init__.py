"""The losses, a module for each family: an entry per loss, with its parameters and its documentation."""
