"""The iris command."""
