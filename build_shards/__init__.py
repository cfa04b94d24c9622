"""Read a dataset of cell images, preprocess every cell, write WebDataset shards and their manifest."""
