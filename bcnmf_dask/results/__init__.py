"""The frozen record of a fit, and how it is written and read."""
