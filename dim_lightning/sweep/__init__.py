"""Sweeps without a service: the sweep files of Weights & Biases, run on this machine.

```
definition  the file -> Definition, or a refusal that names what is not understood
space       a parameter's distribution, as its quantile function
search      which point comes next: grid, random, bayes (optuna)
command     the file's command, filled as W&B's agent fills it
stopping    which trials to end early: hyperband, as W&B does it
record      what is known of a trial, in trials/<n>/trial.json: the state of the sweep
process     one trial: a process of its own, which outlives a sweep that is killed
runner      starts, watches and records trials until there are enough
report      table, sweep.csv, sweep.html
figure      the trials as lines from parameter to parameter
page        the template of sweep.html
```
"""
