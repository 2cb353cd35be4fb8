#!/bin/bash
# Train on two machines of four GPUs each, and go on by itself when the time of a job is over.
#
#   sbatch --export=ALL,DATA=data/singlecoil,RUN=runs/base examples/slurm_train.sh
#
# DATA and RUN are seen by all machines. Submitted again, or requeued, it goes on from the newest state in RUN.

#SBATCH --job-name=mri-iahvae
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

set -euo pipefail

arguments=("$DATA" -o "$RUN" --preset base --precision bfloat16 --batch 64)
if compgen -G "$RUN/states/*.safetensors" > /dev/null; then
    arguments=(-o "$RUN" --resume) # the run knows its options
fi

code=0
# One task per GPU; --kill-on-bad-exit ends all of them when one fails.
srun --kill-on-bad-exit=1 mri-iahvae train "${arguments[@]}" \
    --devices "$SLURM_NTASKS_PER_NODE" --num-nodes "$SLURM_NNODES" || code=$?

# 130: SIGTERM came, two minutes before the end, and the state is saved.
if [ "$code" -eq 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
