"""What a sweep says: summary, statistics, comparison, figures, report."""
