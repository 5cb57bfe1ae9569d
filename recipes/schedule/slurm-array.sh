#!/bin/bash
# Keep a map up to date by a job array: all jobs share the tiles of one run, none waits for another.
#
#   sbatch --array=1-20 slurm-array.sh recipe.yaml /data/out [further options of rsscale run]
#
# The folder must be seen by all nodes, or be an address such as s3://bucket/prefix. RSSCALE_WEBHOOK
# in the environment of sbatch is told how the run has ended, by the first job of the array.
#SBATCH --job-name=rsscale
#SBATCH --array=1-3
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --output=rsscale-%A_%a.log
#SBATCH --open-mode=append
# After a node has failed, or a job of more weight has taken its place.
#SBATCH --requeue
# For GPUs: sbatch --gres=gpu:1 …
set -u
recipe=${1:?"usage: sbatch slurm-array.sh RECIPE RUN-FOLDER [OPTION…]"}
out=${2:?"usage: sbatch slurm-array.sh RECIPE RUN-FOLDER [OPTION…]"}
shift 2

[ "${SLURM_ARRAY_TASK_ID:-1}" = "${SLURM_ARRAY_TASK_MIN:-1}" ] || unset RSSCALE_WEBHOOK

# scancel and preemption send SIGTERM, to this shell too: it waits until rsscale has finished the
# tiles in hand. Slurm's KillWait (30 s as a rule) is to be longer than --grace.
trap : TERM
rsscale run "$recipe" --out "$out" --update --cluster array \
    --threads "${SLURM_CPUS_PER_TASK:-1}" --log-format json --grace 20 "$@"
code=$?

# The time of this job is over, and there is more to do. By the number of the array and the index:
# the last job of an array has the array's own number, by which Slurm would requeue all of them.
if [ "$code" -eq 75 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
    exit 0
fi
exit "$code"
