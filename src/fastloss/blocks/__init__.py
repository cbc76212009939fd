"""Losses whose scores go through BLAS block by block, so that the whole matrix of them is never held."""
