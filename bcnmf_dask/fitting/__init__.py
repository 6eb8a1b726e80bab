"""The loop over sweeps: when to update, record, stop and save."""
