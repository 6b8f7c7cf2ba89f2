"""What a user would write instead of `nnexp sweep`: Optuna's `optimize`, one network at a time, nested MLflow runs.

    python tracked_loop.py torch|numpy --trials 4 --seeds 8 --epochs 500

The same space, sampler, epochs and recorded epochs (log-spaced, at most 24) as `sweep.py`'s sweep file; SQLite for both
stores, and one core.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
import numpy as np
import optuna

X = np.array([[0, 0, 1, 1], [0, 1, 0, 1]], dtype=np.float64)
Y = np.array([1.0, 0.0, 0.0, 1.0])
Train = Callable[[int, float, int, list[int], int], dict[int, float]]


def recorded(epochs: int) -> list[int]:
    """The epochs whose loss is logged."""
    return sorted({0, *np.geomspace(1, epochs, 23).round().astype(int).tolist()})


def train_numpy(hidden: int, rate: float, epochs: int, at: list[int], seed: int) -> dict[int, float]:
    """One network by plain NumPy; its loss at the recorded epochs."""
    rng = np.random.default_rng(seed)
    W1 = rng.uniform(-1, 1, (hidden, 2)) * np.sqrt(6 / (2 + hidden))
    W2 = rng.uniform(-1, 1, hidden) * np.sqrt(6 / (hidden + 1))
    b1, b2 = np.zeros(hidden), 0.0
    curve = {}
    for epoch in range(epochs + 1):
        A1 = np.tanh(W1 @ X + b1[:, None])
        Z2 = W2 @ A1 + b2
        if epoch in at:
            curve[epoch] = float(np.logaddexp(0, (1 - 2 * Y) * Z2).mean())
        dZ2 = (1 / (1 + np.exp(-Z2)) - Y) / 4
        dZ1 = W2[:, None] * dZ2 * (1 - A1 * A1)
        W2 -= rate * (A1 @ dZ2)
        b2 -= rate * dZ2.sum()
        W1 -= rate * (dZ1 @ X.T)
        b1 -= rate * dZ1.sum(axis=1)
    return curve


def train_torch(hidden: int, rate: float, epochs: int, at: list[int], seed: int) -> dict[int, float]:
    """One network by PyTorch modules; its loss at the recorded epochs."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    inputs, targets = torch.tensor(X.T, dtype=torch.float64), torch.tensor(Y, dtype=torch.float64)
    model = torch.nn.Sequential(torch.nn.Linear(2, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    curve = {}
    for epoch in range(epochs + 1):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(inputs)[:, 0], targets)
        if epoch in at:
            curve[epoch] = float(loss)
        loss.backward()
        optimizer.step()
    return curve


def main() -> None:
    """Runs the sweep."""
    parser = argparse.ArgumentParser()
    parser.add_argument("trainer", choices=["numpy", "torch"])
    for name, default in (("trials", 4), ("seeds", 8), ("epochs", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    train: Train = train_torch if options.trainer == "torch" else train_numpy
    at = recorded(options.epochs)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    mlflow.set_experiment("loop")

    def objective(trial: optuna.Trial) -> float:
        hidden = trial.suggest_int("hidden_size", 2, 8)
        rate = trial.suggest_float("learning_rate", 0.1, 10.0, log=True)
        with mlflow.start_run(nested=True):
            mlflow.log_params({**trial.params, "trial": trial.number})
            curves = [train(hidden, rate, options.epochs, at, seed) for seed in range(options.seeds)]
            for epoch in at:
                losses = [curve[epoch] for curve in curves]
                mlflow.log_metrics(
                    {"loss": float(np.mean(losses)), "loss_median": float(np.median(losses))}, step=epoch
                )
            solved = float(np.mean([curve[at[-1]] < 0.3 for curve in curves]))
            mlflow.log_metric("solved_rate", solved)
        return solved

    with mlflow.start_run():
        study = optuna.create_study(
            storage="sqlite:///optuna.db", direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
        )
        study.optimize(objective, n_trials=options.trials)


if __name__ == "__main__":
    main()
