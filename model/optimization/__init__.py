"""What becomes of gradients: the optimizers, their learning rate, and steps that are better not taken."""
