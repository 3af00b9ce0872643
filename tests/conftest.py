"""Being here, it lets tests import `builders`."""
