"""Everything of iris that touches the world: one package or module for each way of doing so, and their wiring."""
