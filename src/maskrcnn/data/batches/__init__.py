"""What the graph is fed with: augmented images, targets, batches in a keyed order."""
