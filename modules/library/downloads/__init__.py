"""Getting models from other sites: the queue, the transfers, the sites."""
