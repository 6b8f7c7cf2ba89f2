"""Running sweeps: this package connects study, training processes, tracking store and analysis.

Public names: `sweeps.sweep`, `sweeps.submit`, `sweeps.stop`, `sweeps.delete`; `service.work`; `status.status`;
`doctor.examine`, `doctor.deliver`; `replay.replay`; `plan.plan`.

- `sweeps`: run a sweep, submit it to workers, stop it, delete it. `service`: a worker on all open sweeps.
- `session`: what a worker opens and holds. `trial_loop`: claim, train, finish, deliver. `adaptive`: how many seeds.
- `jobs`: the training of trials as tasks. `pool`: where they are run: this process, processes, or a Dask cluster.
- `finalize`: the end of a sweep. `publish`: its results in MLflow.
- `preflight` and `plan`: before a sweep. `status` and `progress`: while it runs.
- `doctor` and `repair`: faults of the stores. `replay`: a run trained again.
- `retry`, `signals` and `liveness`: stores that do not answer, SIGINT and SIGTERM, and a container's probe.

It imports all packages on lower floors and, for a Dask cluster, `distributed` (an extra).
"""
