"""Where study, pool, tracking and analysis meet: sweep, worker, conclusion, doctor, replay."""
