"""The two-layer network without its training: tasks, settings, equations, hand-designed networks, initial weights.

- `tasks`: truth tables, by name or as a table (`Task`)
- `settings`: one setting of the search space (`Settings`)
- `model`: the equations (`Network`, `loss_and_gradients`, `predict`), with their derivation
- `reference`: the hand-designed networks (`reference`) and their mirrors
- `initializers`: initial weights
- `network_file`: networks as JSON files

It imports `nnexp.errors`, NumPy and pydantic.
"""
