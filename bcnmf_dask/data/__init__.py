"""Whatever a user holds, made into validated, aligned, row-sliceable stores, and their plan of shards."""
