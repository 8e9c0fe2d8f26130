"""Which of a video's frames are worth a label: scores in ``judges``, verdicts in ``policy``, both by ``rules``."""
