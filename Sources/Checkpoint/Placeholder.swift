// Placeholder until the first file of Checkpoint.
