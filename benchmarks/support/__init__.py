"""What benchmark scripts start and drive; run by them alone."""
