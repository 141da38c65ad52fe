"""Text navigation: follow written directions through a town."""
