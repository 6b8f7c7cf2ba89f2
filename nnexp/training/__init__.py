"""Training: full-batch gradient descent for thousands of networks at once.

Public names: `trainer.train` trains a setting to its end; `trainer.start` and `trainer.advance` do it in parts. They
return a `result.TrainingResult`.

A *tile* is a block of memory that fits into the processor's cache, with the networks that are trained in it together. A
*lane* is the place of one network in a tile. The *scheduler* decides which network is in which lane.

- `trainer`: which networks are trained together
- `result`: what training returns
- `lanes`: the scheduler
- `tile`: one epoch of gradient descent for all lanes of a tile
- `hidden_layer`: the hidden units of a tile
- `blas`: the threads of BLAS in a training process

It imports `nnexp.network`, NumPy and threadpoolctl.
"""
