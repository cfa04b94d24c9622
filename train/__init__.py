"""Train ResNets, written by hand, from scratch on WebDataset shards."""
