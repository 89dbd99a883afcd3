"""Livedex's model runtime beside transformers and sentence-transformers: speed and numbers."""
