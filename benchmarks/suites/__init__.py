"""What asv follows along the history: see ../README.md."""
