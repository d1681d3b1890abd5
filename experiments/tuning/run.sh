#!/usr/bin/env bash
# What choosing on five images is worth: bash experiments/tuning/run.sh [FOLDER with HC18/, CXR/ and cxr_covid/]
# Trials on many images (matrices/), about five minutes of one core each; then 40 draws of tuning images from each.
set -eu
[ $# -eq 0 ] || root=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
here=experiments/tuning
mkdir -p "$here/matrices"

matrix() { # matrix NAME TRIALS OVERRIDES...
    local name=$1
    shift
    .venv/bin/python "$here/matrix.py" "$here/matrices/$name.parquet" "$@"
}

# All thresholds, as studies without labels search them; sentences that have nothing to do with the organ.
wide=tuning.space.area.above_targets=false
for set in phantom_cc359 phantom_hc18 phantom_xray; do
    matrix "$set" 80 "dataset=$set"
    matrix "$set-wide" 50 "dataset=$set" "$wide"
done
matrix phantom_cc359-77 100 dataset=phantom_cc359 seed=77
matrix phantom_hc18-77 100 dataset=phantom_hc18 seed=77
matrix phantom_hc18-2026 60 dataset=phantom_hc18 dataset.phantom.seed=2026 seed=2026
if [ $# -gt 0 ]; then
    hc18=(dataset=hc18 "dataset.root=$root/HC18")
    xray=(dataset=xray "dataset.root=$root/CXR")
    covid=(dataset=folder dataset.name=cxr_covid "dataset.root=$root/cxr_covid" dataset.k=2 dataset.roi=lungs vdt=lungs)
    matrix hc18 80 "${hc18[@]}"
    matrix hc18-wide 50 "${hc18[@]}" "$wide"
    matrix hc18-nonsense 60 "${hc18[@]}" +ablation=nonsense_prompt
    matrix hc18-77 100 "${hc18[@]}" seed=77
    matrix hc18-2026 60 "${hc18[@]}" seed=2026
    matrix hc18-77-wide 100 "${hc18[@]}" "$wide" seed=77
    matrix xray 80 "${xray[@]}"
    matrix xray-77 100 "${xray[@]}" seed=77
    matrix xray-wide 50 "${xray[@]}" "$wide"
    matrix cxr_covid 80 "${covid[@]}"
    matrix cxr_covid-wide 100 "${covid[@]}" "$wide"
fi
.venv/bin/python "$here/measure.py"
