#!/bin/sh
# Measure again what depends on the shipped guide, and write the tables. From the repository's root, in its environment:
#
#     benchmarks/remake.sh TRAIN.npz VAL.npz VAL_256.npz KNEES_256.npz data/reporting data/tuning
#
# The data are those of docs/results/README.md; their paths hold no spaces. JOBS commands run at a time (2), one core each.
# What stays to be done by hand: the two numbers of coil_fraction.json belong into model/coil_estimate.py before the other
# coils' commands; claims and prose of the pages; the figures; pages of the prior alone, where that has changed.
set -eu
train=$1 val=$2 val_256=$3 knees_256=$4 reporting=$5 tuning=$6
here=benchmarks
export OMP_NUM_THREADS=1

measure() {
    xargs -P "${JOBS:-2}" -I{} sh -c 'echo "{}"; python -m {} || exit 255'
}

measure <<EOF
$here.beyond.calibrate_intervals $train pretrained/small
$here.beyond.coil_fraction $tuning --json $here/beyond/coil_fraction.json
EOF
measure <<EOF
$here.quality.compare $reporting --json $here/quality/quality.json
$here.quality.native $val_256 --json $here/quality/native.json
$here.quality.native $val_256 --denoise --noise 0.2 --json $here/quality/native_denoise.json
$here.quality.native $knees_256 --slices 2 --json $here/quality/native_knee.json
$here.quality.calibration $reporting --temperature 1.0 --json $here/quality/calibration.json
$here.quality.coils $reporting --json $here/quality/coils.json
$here.quality.hard $reporting --slices 2 --json $here/quality/hard.json
$here.quality.generated --json $here/quality/generated.json
$here.beyond.uncertainty $reporting --json $here/beyond/uncertainty.json
$here.beyond.coils $reporting --json $here/beyond/coils.json
$here.beyond.coils $tuning --json $here/beyond/coils_tuning.json
$here.beyond.series $reporting --json $here/beyond/series.json
$here.beyond.latents $reporting --json $here/beyond/latents.json
$here.beyond.plan $val $train --json $here/beyond/plan.json
$here.quality.failures $reporting/IXI206.h5 -o pretrained/small/failures.png
EOF
python -m benchmarks.pages
