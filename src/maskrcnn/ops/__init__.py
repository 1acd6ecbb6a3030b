"""Pure functions on tensors, each with a numpy twin."""
