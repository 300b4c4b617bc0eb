// Placeholder until the first file of Coordinator.
