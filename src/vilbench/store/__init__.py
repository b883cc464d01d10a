"""A run as a folder: every unit of paid work once, whole, and there after a crash."""
