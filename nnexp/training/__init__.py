"""Training: thousands of networks side by side, by batched gradient descent."""
