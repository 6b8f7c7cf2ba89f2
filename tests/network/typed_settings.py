"""What a type checker sees of `Settings`: mypy reads this, and strict mode refuses a comment that is not needed."""

from nnexp import Settings

Settings(task="xor", hidden_size=4, learning_rate=1, momentum=0.5, init="normal", loss="mse", seeds=3)
Settings(hidden_sise=4)  # type: ignore[call-arg]
Settings(hidden_size="4")  # type: ignore[arg-type]
Settings(learning_rate=None)  # type: ignore[arg-type]
Settings(activation="relu")  # type: ignore[arg-type]
Settings("xnor")  # type: ignore[call-arg]
