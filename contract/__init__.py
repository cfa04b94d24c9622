"""What crosses between the rooms: recipe, manifest, shard reader, model card. Imports numpy, opencv and stdlib only."""
