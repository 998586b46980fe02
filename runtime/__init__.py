"""What runs on a board: bundles, back ends, sources, tasks, the camera pipeline, the simulator, the profiler."""
