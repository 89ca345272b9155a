"""The core of iris: what a cluster is, how its logs are landed, and the ports it asks the world through."""
