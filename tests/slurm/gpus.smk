# Jobs that ask for GPUs as rules of the study do, and only write down what they were given.


include: "../../workflow/rules/common.smk"


rule given:
    output:
        "given/{track}-{stage}.txt",
    log:
        "given/{track}-{stage}.log",
    wildcard_constraints:
        stage="edits|probes|spectra",
    resources:
        gpu=lambda w: resources_of(w.stage)["gpu"](w),
        mem_mb=500,
    shell:
        "echo start >> {wildcards.stage}.starts; nproc > {output}; "
        'echo "gpus ${{CUDA_VISIBLE_DEVICES:-}}" >> {output}; echo "job $SLURM_JOB_ID" >> {output}'
