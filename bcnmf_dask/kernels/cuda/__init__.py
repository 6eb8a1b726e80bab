"""Kernels for CUDA devices: C++ that is compiled where it runs, for the types and the number of components at hand."""
