// Placeholder until the first file of Comm.
