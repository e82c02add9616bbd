"""The search for better settings, and whether to recommend them."""
