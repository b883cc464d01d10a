"""A local web app over stored runs: it reads run folders and never writes into them."""
