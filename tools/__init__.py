"""Programs that make what the package carries; none of this is installed."""
