"""Problem sets that need process rewards, chosen from stored runs without choosing the gain."""
