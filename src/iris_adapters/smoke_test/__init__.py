"""The smoke test: phases, checks and the artifacts it leaves."""
