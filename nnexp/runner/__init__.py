"""Where study, training pool, tracking store and analysis meet: a sweep is run, finalized, checked and repaired.

- `sweeps`: run a sweep, submit it to workers, stop it, delete it. `service`: a worker on every open sweep.
- `session`: what a worker opens and holds. `trial_loop`: claim, train, finish, deliver. `adaptive`: how many seeds.
- `jobs`: the training of trials as tasks. `pool`: the processes or the cluster that run them.
- `finalize`: the end of a sweep. `publish`: its results in MLflow.
- `preflight` and `plan`: before a sweep. `status` and `progress`: while it runs.
- `doctor` and `repair`: faults of the stores. `replay`: a run trained again.
- `retry`, `signals` and `liveness`: stores that do not answer, SIGINT and SIGTERM, and a container's probe.

It imports the packages below it and, for a Dask cluster, `distributed` (an extra).
"""
