"""What MLflow holds of a sweep, and how finished trials get there."""
