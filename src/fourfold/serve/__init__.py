"""``fourfold serve``: where services send their records over HTTP, and where people look."""
