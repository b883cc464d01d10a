"""Training of reward models, and of the embedded checkpoints."""
