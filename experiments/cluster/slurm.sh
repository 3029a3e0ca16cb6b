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

# Two minutes before the time is up the training is told to end and saves its state. If that takes
# longer than it may, the job is queued again all the same, before its time is up.
ending=false
trap 'ending=true
  scancel --signal=TERM "$SLURM_JOB_ID"
  ({ sleep 90; scontrol requeue "$SLURM_JOB_ID"; } > /dev/null 2>&1 &)' USR1

# srun does not take the job's own number since SLURM 22.05
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}"

# In the background, as the shell hears no signal while it waits for a program. The first task
# works on when the others have ended: it writes the results.
srun --kill-on-bad-exit=1 --wait=0 "${PYTHON:-python}" \
  -m dim_lightning "$1" --trainer.strategy ddp_find_unused_parameters_true "${@:2}" \
  --trainer.num_nodes "$SLURM_NNODES" --trainer.devices "$SLURM_NTASKS_PER_NODE" &
training=$!
code=138
while [[ $code == 138 ]]; do  # USR1 has ended the wait, not the training
  code=0
  wait "$training" || code=$?
done

# Told to end, the training has saved and left. SLURM, which has told it before a preemption, queues
# the job again only if it has not ended by itself.
if [[ $code == 143 ]]; then
  if [[ $ending == true ]]; then scontrol requeue "$SLURM_JOB_ID" || true; fi
  sleep 600 &
  wait $! || true
fi
exit "$code"
