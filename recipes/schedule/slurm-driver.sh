#!/bin/bash
# Keep a map up to date by one job that submits further jobs, its workers, through dask-jobqueue.
#
#   sbatch slurm-driver.sh recipe.yaml /data/out [further options of rsscale run]
#
# Needs rsscale[jobqueue], and nodes from which jobs may be submitted; where they may not, run the
# last command on a login node. How many workers there are, and what each has, is said by the
# recipe's key `cluster`, such as {kind: slurm, workers: 20, cores: 8, walltime: "04:00:00"}. When
# this job ends, so do its workers.
#SBATCH --job-name=rsscale-driver
#SBATCH --cpus-per-task=1
#SBATCH --mem=8G
#SBATCH --time=1-00:00:00
#SBATCH --output=rsscale-driver-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
set -u
usage="usage: sbatch slurm-driver.sh RECIPE RUN-FOLDER [OPTION…]"
recipe=${1:?$usage} out=${2:?$usage}
shift 2

trap : TERM # as in slurm-array.sh
rsscale run "$recipe" --out "$out" --update --cluster slurm \
    --log-format json --grace 20 "$@"
code=$?
if [ "$code" -eq 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
