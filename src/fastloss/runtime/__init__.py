"""What a process runs on: the OpenMP runtime, threads, the CPUs that control groups grant, and the configuration."""
