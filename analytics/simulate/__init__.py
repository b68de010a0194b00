"""Many simulated phones at once with all their troubles, and the proof that no answer is lost."""
