"""Cloud side: every video that lands becomes frames, a contact sheet, an index and manifest lines."""
