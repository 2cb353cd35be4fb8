"""How long reconstructions take, and how much memory."""
