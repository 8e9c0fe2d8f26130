"""``edge-agent doctor``: whether this box can do its work, and what to do where it cannot."""
