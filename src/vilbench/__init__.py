"""vilbench: a suite for vision-language process reward modelling."""

__version__ = "0.1.0"
