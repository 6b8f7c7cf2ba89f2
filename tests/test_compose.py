"""compose.yaml: what it promises, and each of its services' commands really run."""
