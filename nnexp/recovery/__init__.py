"""What a trained network found: grades, gates, distances to the reference, metrics of a trial."""
