"""The job API: its wire types, its HTTP server, its client, and the in-process engine."""
