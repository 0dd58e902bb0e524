"""The global reducer: uses in, campaigns and enforcement decisions out."""
