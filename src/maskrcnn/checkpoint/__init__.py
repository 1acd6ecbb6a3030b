"""Checkpoints: the file, the folder, writing beside the training, weights into a network."""
