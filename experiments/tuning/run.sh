#!/usr/bin/env bash
# The ledger of tuning: bash experiments/tuning/run.sh [FOLDER with HC18/ and CXR/]
# 500 trials on each set of phantoms; 100 on real images where a folder is given. What each study found lands beside this file.
set -eu
[ $# -eq 0 ] || root=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
python=.venv/bin/python
here=experiments/tuning

study() { # study NAME OVERRIDES...: search, and keep what was found, without where it lies
    local name=$1
    shift
    "$python" -m salip_exp task=tune sam=tiny clip=tiny "$@" threads=1 progress=false "hydra.run.dir=outputs/ledger/tune-$name"
    "$python" - "outputs/ledger/tune-$name/study.json" "$here/$name.json" <<'END'
import json, pathlib, sys
found = json.loads(pathlib.Path(sys.argv[1]).read_text())
kept = {key: value for key, value in found.items() if key not in ("dashboard", "tuned")}
pathlib.Path(sys.argv[2]).write_text(json.dumps(kept, indent=1) + "\n")
END
}

for set in phantom_cc359 phantom_hc18 phantom_xray; do
    study "$set" "dataset=$set" tuning.n_trials=500
done
if [ $# -gt 0 ]; then
    study hc18 dataset=hc18 "dataset.root=$root/HC18" tuning.n_trials=100 tuning.draws=0
    study xray dataset=xray "dataset.root=$root/CXR" tuning.n_trials=100 tuning.draws=0
fi
