"""What the viewer and the server have in common: where they listen, and who may ask."""
