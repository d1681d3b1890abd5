#!/usr/bin/env bash
# The ledger of the U-Net on real images: bash experiments/unet/run.sh FOLDER, with HC18/ and CXR/ in it.
# Some three minutes of one core for the heads, an hour for the lungs. Summaries and learning curves land beside this file.
set -eu
root=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
python=.venv/bin/python
here=experiments/unet

for pair in hc18:HC18 xray:CXR; do
    set=${pair%%:*}
    more=$([ "$set" = xray ] && echo "unet.side=256 unet.epochs=100 unet.patience=40" || true)
    "$python" -m salip_exp task=train method=unet "dataset=$set" "dataset.root=$root/${pair##*:}" threads=1 \
        $more progress=false "hydra.run.dir=outputs/ledger/unet-$set"
    cp "outputs/ledger/unet-$set/test/summary.json" "$here/$set.json"
    cp "outputs/ledger/unet-$set/curves.csv" "$here/$set-curves.csv"
done
