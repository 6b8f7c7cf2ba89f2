"""What a sweep tries: the sweep file (`sweep_file`), the search space (`space`), the names of the metrics (`metrics`).

Public names: `sweep_file.Sweep`, `sweep_file.load` and `sweep_file.parse`; the dimensions `space.IntRange`,
`space.FloatRange`, `space.Choice` and `space.Fixed`; `metrics.metric_directions`. It imports `nnexp.network` and
pydantic.
"""
