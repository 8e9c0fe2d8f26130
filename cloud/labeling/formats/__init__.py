"""Label files of other tools: one module a format, each an ordinary consumer or source of examples."""
