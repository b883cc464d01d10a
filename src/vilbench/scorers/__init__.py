"""Every StepScorer: generative judges and likelihoods."""
