#!/bin/bash
# A list that eight tasks of a Slurm array share: each takes its part of the rows, of the budget and of the pace.
# Submit it with `sbatch examples/slurm_array.sh prompts.csv`, and again to go on with what is left.
#SBATCH --array=1-8
#SBATCH --cpus-per-task=2
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@600
set -euo pipefail

# `exec`, so that the signal ten minutes before the end reaches the program: what is paid for comes to its end.
exec burncloud-images batch "$1" -m gpt-image-2 --budget 200 --rpm 600 \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" \
  --into "otters-$SLURM_ARRAY_TASK_ID"
