#!/usr/bin/env bash
# Several hosts, started by hand: the same line on each, with its own NODE.
#
#   NODES=2 NODE=0 HEAD=10.0.0.1 DEVICES=4 experiments/cluster/torchrun.sh \
#       fit --config experiments/cifar10/blog.yaml --trainer.accelerator gpu
#
# NODES    how many hosts (1)
# NODE     which of them this is, from 0 (0)
# HEAD     address of host 0, as the others see it (127.0.0.1)
# PORT     a free port of it (29400)
# DEVICES  processes a host, one a GPU (1)
# JOB      a name of the job; started again under it, the job goes on with its run (none: a new run)
# PYTHON   the Python that has dim_lightning (python)
set -euo pipefail

nodes=${NODES:-1} devices=${DEVICES:-1}

exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "$nodes" --node-rank "${NODE:-0}" --nproc-per-node "$devices" \
  --master-addr "${HEAD:-127.0.0.1}" --master-port "${PORT:-29400}" --rdzv-id "${JOB:-none}" \
  -m dim_lightning "$1" --trainer.strategy ddp_find_unused_parameters_true "${@:2}" \
  --trainer.num_nodes "$nodes" --trainer.devices "$devices"
