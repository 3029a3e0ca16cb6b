"""The folder of one run: what went in, what came out, and one page that shows it.

```
runs/<experiment>/<n>/
  config.yaml        every setting; `fit --config` takes it back and gives the same run
  config.<k>.yaml    earlier settings, if the run was resumed with others
  environment.json   versions, processor, threads, commit, own code's hashes, command, start and end
  metrics.csv        what was logged, a row a step
  checkpoints/       last.ckpt; previous.ckpt, the one before; kept/, those of a ModelCheckpoint
  pictures/          neighbours, prior samples, geometry
  result.json        the figures of `fit`, of `test`, and of tests on other data sets
  summary.html       all of that on one page that opens from disk
  embeddings.parquet of `predict`
  export/            of `export`
  test_so_far.*.json what a `test` has measured that is not done
  wandb.json, wandb/ the run's id on Weights & Biases, and what it keeps
```
"""
