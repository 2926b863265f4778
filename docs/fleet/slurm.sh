#!/bin/sh
# A job array: 16 tasks, of which each explores its part of a million seeds.
#   sbatch slurm.sh
#   seaworthy merge lin-kv-*.json      # once all tasks are over
#SBATCH --job-name=explore-lin-kv
#SBATCH --array=0-15
#SBATCH --cpus-per-task=4
#SBATCH --mem=2G
#SBATCH --time=04:00:00
set -eu
exec seaworthy explore -w lin-kv --from 0 --seeds 1000000 --jobs "$SLURM_CPUS_PER_TASK" \
  --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --json \
  > "lin-kv-$SLURM_ARRAY_TASK_ID.json"
