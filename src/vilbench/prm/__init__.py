"""Process reward models: tokens, the model with its score head, scoring, the saved folder."""
