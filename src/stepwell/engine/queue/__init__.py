"""Jobs that wait for a worker, and times that runs wait for: two bounded windows over the store."""
