"""What a reward model does beside telling right from wrong: bias, calibration, consistency, attacks."""
