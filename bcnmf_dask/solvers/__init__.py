"""What the next sweep does with the statistics of the last one."""
