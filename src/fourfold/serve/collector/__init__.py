"""The collector: what services send over HTTP goes into the store's inbox, and is acknowledged when it is durable."""
