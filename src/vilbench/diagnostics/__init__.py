"""What a scorer does beside telling right from wrong: calibration, bias, consistency, attacks."""
