#!/usr/bin/env bash
# Several hosts, any of which may die but host 0: when it is back and starts this line again, all
# go on from the last checkpoint. The same line on each, with its own NODE.
#
#   JOB=blog-1 NODES=2 NODE=0 HEAD=10.0.0.1 DEVICES=4 experiments/cluster/elastic.sh \
#       fit --config experiments/cifar10/blog.yaml --trainer.accelerator gpu
#
# JOB       a name of the job, the same on all hosts and for nothing else; no default
# NODES     how many hosts: the job waits until all are there (1)
# NODE      which of them this is, from 0 (0)
# HEAD      address of host 0, as the others see it; they meet there (127.0.0.1)
# PORT      a free port of it (29400)
# ADDRESS   address of this host, where its name does not lead the others to it (its name)
# DEVICES   processes a host, one a GPU (1)
# RESTARTS  how often the processes of a host are started again (10)
# PYTHON    the Python that has dim_lightning (python)
set -euo pipefail

nodes=${NODES:-1} devices=${DEVICES:-1}
# A host that comes back would wait in vain for the address of a shared store, which torchrun 2.14
# gives out once. Source: pytorch/pytorch, issue 135712.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
if [[ ${NODE:-0} == 0 ]]; then is_host=true; else is_host=false; fi

exec "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "$nodes" --nproc-per-node "$devices" --max-restarts "${RESTARTS:-10}" \
  --rdzv-backend c10d --rdzv-endpoint "${HEAD:-127.0.0.1}:${PORT:-29400}" \
  --rdzv-id "${JOB:?a name of the job, the same on all hosts}" --rdzv-conf "is_host=$is_host" \
  ${ADDRESS:+--local-addr "$ADDRESS"} \
  -m dim_lightning "$1" --trainer.strategy ddp_find_unused_parameters_true "${@:2}" \
  --trainer.num_nodes "$nodes" --trainer.devices "$devices"
