"""What a sweep tries: the sweep file and the search space."""
