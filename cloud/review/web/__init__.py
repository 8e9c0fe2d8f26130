"""A page for the one person who started it: pictures side by side, and what is to become of them."""
