#!/usr/bin/env bash
# The comparison on real text that experiments/README.md reports: Tables 2 to 4, single-task models, λ on
# the loss and on the update, and the ratio of sizes; three seeds each. `make evidence` calls this.
#
#   experiments/evidence.sh PYTHON DATA ENCODER FOLDER [SETTING=VALUE ...]
#
# It may be stopped at any time: the same command goes on where it stopped.
set -u
python=$1 data=$2 encoder=$3 folder=$4
shift 4

SEEDS=seed=1,2,3
common=(
  data=cs224n "data.dir=$data" model=local "model.path=$encoder" 'data.dev_limit={qqp: 1000}'
  optimizer=paper trainer.precision=32-true trainer.threads=1 trainer.layers_every=25
  trainer.keep=none trainer.enable_progress_bar=false
  trainer.baseline=false  # the row "random" is the untrained model
)
# A tenth of every training set, at the files' own ratio: 5,219 + 854 + 604 examples. The scales are for a
# file of 52,191 question pairs; with the paper's 283,010 both are 0.1 (UNION=B_scale=0.1 LARGEST=B_scale=0.1).
share=("${common[@]}" data.share=0.1 batch_size=8 lr=3e-5 trainer.check_val_every_n_epoch=2)
UNION=${UNION:-B_scale=0.022437}    # 6,677 of the paper's 297,594: for methods that draw from all tasks
LARGEST=${LARGEST:-B_scale=0.018441}  # 5,219 of the paper's 283,010: for ARRP, whose B is of the largest task

failed=0
sweep() {  # SUBFOLDER OVERRIDE...
  "$python" -m mtl_bert.train -m "${@:2}" hydra.sweep.dir="$folder/$1" || {
    local status=$?
    case $status in 75 | 130) exit "$status" ;; esac
    failed=$status
  }
}
tables() { sweep tables "$@" "${share[@]}" ${own[@]+"${own[@]}"} $SEEDS; }
ratios() { sweep ratios "$@" "${common[@]}" ${own[@]+"${own[@]}"} $SEEDS; }
own=("$@")

tables '+experiment/table2=annealed_16000,annealed_56000,vanilla_16000,vanilla_56000' epochs=4 $UNION
tables '+experiment/table2=rr,random' epochs=4
tables '+experiment/table4=glob(arrp*)' epochs=4 $LARGEST
tables '+experiment/table2=annealed_80000' epochs=4 $UNION
tables '+experiment/table2=full' epochs=4
tables '+experiment/table3=glob(*)' $LARGEST
tables sampler=single epochs=4
tables sampler=arrp B=24000 $LARGEST lambda=0,0.3,0.7,1 epochs=4
# With λ=1 there is nothing to scale, wherever.
tables sampler=arrp B=24000 $LARGEST lambda=0,0.3,0.7 sampler.lambda_on=update epochs=4

# The largest training set stays 1,000 examples, the others become as many, a tenth, a hundredth. Without
# B an epoch of vanilla and of ARRP is every example once, one of annealed draws as many. So few examples
# are few steps: hence smaller batches and a larger rate than above.
once=(data.limit=1000 data.imbalance=1,10,100 B=null batch_size=4 lr=1e-4 epochs=2 trainer.check_val_every_n_epoch=2)
ratios sampler=arrp,annealed,vanilla,rr "${once[@]}"
ratios sampler=vanilla surgery=none "${once[@]}"

"$python" -m mtl_bert.report "$folder/tables" "$folder/ratios" --out "$folder/report" || failed=$?
exit "$failed"
