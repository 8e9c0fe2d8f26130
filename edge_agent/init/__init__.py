"""``edge-agent init``: from a few answers to a settings file that passes check-config."""
