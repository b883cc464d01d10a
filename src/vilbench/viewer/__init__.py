"""A local web app over stored runs."""
