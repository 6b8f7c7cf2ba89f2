"""What trained networks have learned: whether they recovered the hand-designed network, and the metrics of a trial.

The *reference*, or *design*, is the hand-designed network of a task.

- `grades`: the criterion of recovery and all other grades (`Grades`, `assess`)
- `matching` and `distance`: the parts of the grades that compare hidden units and weights with the reference
- `trial_metrics`: the curves, final metrics and outcome of a trial; `intervals`: confidence intervals of rates
- `shortfall`: why networks of a trial do not reach the goal, in one sentence
- `gates`: the logic of a network in words (`explain_network`, `explain_reference`)
- `alignment`: a network with its units in the order of the reference (`align_with_reference`)
- `networks_table`: the files of a trial, `networks.parquet` and `best_network.json`

It imports `nnexp.network`, `nnexp.training`, `nnexp.search`, NumPy, SciPy and pyarrow.
"""
