#!/bin/sh
# Snakemake runs this in the new conda environment, in its working directory: the checkout.
PYTHON=python sh envs/install.sh core
