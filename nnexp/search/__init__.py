"""What a sweep tries: the sweep file (`sweep_file`) with its space (`space`), seeds (`seeds`) and metrics (`metrics`).

Public names: `sweep_file.Sweep`, `sweep_file.load` and `sweep_file.parse`; the dimensions `space.IntRange`,
`space.FloatRange`, `space.Choice` and `space.Fixed`; `metrics.metric_directions`. It imports `nnexp.network` and
pydantic.
"""
