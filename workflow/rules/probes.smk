"""Measurements over checkpoints that train nothing: a rule for each module of them."""

from functools import partial

ROLES = {*study.landmark_checkpoints} - {"base"}  # landmarks that are known once they are chosen


def settings_of(measurement, wildcards):
    """What a measurement depends on, beside its files."""
    return measurement.settings(study, wildcards.track)


for name, measurement in MEASUREMENTS.items():

    rule:
        name:
            f"measure_{name}"
        input:
            **{kind: this(pattern) for kind, pattern in measurement.TABLES.items()},
            landmarks=artifacts.LANDMARKS if ROLES & {*measurement.reads(study)} else [],
            manifests=manifests(FILES.behind(*measurement.reads(study))),
        output:
            measurement.SCHEMA.path,
        log:
            log_of(f"measure_{name}", "track", "seed"),
        threads: threads_of("probes")
        resources:
            **resources_of("probes"),
        params:
            measurement=name,
            reads=measurement.reads(study),
            settings=partial(settings_of, measurement),
        message:
            f"Measure {name.replace('_', ' ')}: " "{wildcards.track}, seed {wildcards.seed}"
        script:
            "../scripts/measure.py"
