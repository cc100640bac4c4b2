"""How often limits that set themselves alarm for nothing, and how soon they find what has changed."""
