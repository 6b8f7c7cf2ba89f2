"""The two-layer network: everything that is known of it before and without training.

- `tasks`: truth tables, by name or as a table (`Task`)
- `settings`: one setting of the search space (`Settings`)
- `model`: the equations (`Network`, `loss_and_gradients`, `predict`), with their derivation
- `reference`: the hand-designed networks (`reference`) and their mirrors
- `initializers`: initial weights
- `network_file`: networks as JSON files

Of the package it imports `nnexp.errors` alone; its libraries are NumPy and pydantic.
"""
