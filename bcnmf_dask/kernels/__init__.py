"""The hot loops over stored values."""
