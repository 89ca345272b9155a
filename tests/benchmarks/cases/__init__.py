"""The cases of the benchmark, a module each: `run(directory)` measures in an empty directory and returns a `CaseResult`."""
