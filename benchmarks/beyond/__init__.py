"""What goes beyond the reconstruction of one slice."""
