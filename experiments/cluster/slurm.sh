#!/usr/bin/env bash
# Several hosts of a cluster with SLURM, from a folder that all of them see:
#
#   sbatch --nodes 2 --ntasks-per-node 4 --gpus-per-node 4 experiments/cluster/slurm.sh \
#       fit --config experiments/cifar10/blog.yaml --trainer.accelerator gpu
#
# One task a GPU. After a failed host, a preemption or the end of its time the job is put back into
# the queue, and goes on from the last checkpoint of its run.
#SBATCH --job-name=dim_lightning
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
#SBATCH --open-mode=append
#SBATCH --output=%x.%j.log
set -euo pipefail

# two minutes before the time is up
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

# srun does not take the job's own number since SLURM 22.05
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

# in the background, as the shell hears no signal while it waits for a program
srun --kill-on-bad-exit=1 "${PYTHON:-python}" \
  -m dim_lightning "$1" --trainer.strategy ddp_find_unused_parameters_true "${@:2}" \
  --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" &
code=0
wait $! || code=$?

# Told to end, the training has saved and left; SLURM, which has told it before a preemption, queues
# the job again only if it has not ended by itself.
if [[ $code == 143 ]]; then
  sleep 600 &
  wait $! || true
fi
exit "$code"
