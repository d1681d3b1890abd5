#!/usr/bin/env bash
# The ledger of the embedded weights: bash experiments/embedded/run.sh [FOLDER with HC18/ and CXR/]
# Phantoms always; real images where a folder is given. Summaries land beside this file, runs below outputs/.
set -eu
cd "$(dirname "$0")/../.."
python=.venv/bin/python
here=experiments/embedded

record() { # record NAME OVERRIDES...: run, and keep the summary
    local name=$1
    shift
    rm -rf "outputs/ledger/$name"
    "$python" -m salip_exp sam=tiny clip=tiny "$@" progress=false "hydra.run.dir=outputs/ledger/$name"
    cp "outputs/ledger/$name/summary.json" "$here/$name.json"
}

for set in phantom_cc359 phantom_hc18 phantom_xray; do
    more=$([ "$set" = phantom_cc359 ] && echo dataset.volume.per_volume=6 || echo seed=1234)
    record "$set" "dataset=$set" "$more"
    record "$set-no_filter" "dataset=$set" "$more" +ablation=no_filter
    record "$set-gt_sam" "dataset=$set" "$more" method=gt_sam
done
if [ $# -gt 0 ]; then
    for pair in hc18:HC18 xray:CXR; do
        set=${pair%%:*} root=$1/${pair##*:}
        record "$set" "dataset=$set" "dataset.root=$root"
        record "$set-gt_sam" "dataset=$set" "dataset.root=$root" method=gt_sam
    done
fi
