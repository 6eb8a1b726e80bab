"""Measurements of the package on the machines at hand, and a model of what larger ones would take."""
