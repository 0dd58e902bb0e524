"""The parallel reducer: raw messages of one partition in, uses out."""
