"""The benchmarks that asv runs: a module for each part of the package, and random inputs."""
