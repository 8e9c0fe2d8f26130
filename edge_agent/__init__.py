"""Edge capture daemon: records class-tagged video segments and syncs them to an object store."""

__version__ = "0.1.0"
