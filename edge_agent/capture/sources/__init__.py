"""Where packets come from: one module a kind of camera."""
