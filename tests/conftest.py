"""Settings that all tests share."""

from hypothesis import settings

# Machines that run tests are busy: examples are checked, not timed.
settings.register_profile("vilbench", deadline=None)
settings.load_profile("vilbench")
