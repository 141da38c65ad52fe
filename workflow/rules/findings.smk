"""What was found: tables, each from all tracks and seeds, and the texts that come with some.

`healscope.findings` knows what a table is made from, and makes it.
"""

TABLES = findings.asked(FILES)
# tables that a run without targets makes, also where no figure shows them
ANSWERS = [name for name, finding in TABLES.items() if finding.target(FILES)]
PAGES = [TABLES[name].page.file for name in ANSWERS if TABLES[name].page]
if len(study.seeds) > 1:
    ANSWERS.append("mask-overlap")


rule table:
    input:
        unpack(lambda w: findings.inputs(w.table, FILES)),
    output:
        artifacts.TABLE,
    log:
        log_of("table", "table"),
    wildcard_constraints:
        table=one_of(name for name, finding in TABLES.items() if not finding.page),
    group:
        one_job("tables")
    resources:
        **SMALL,
    params:
        study=lambda w: findings.values(w.table, FILES),
        lost_inputs=lambda w: findings.lost_inputs(w.table, FILES),
    message:
        "Table {wildcards.table}"
    script:
        "../scripts/table.py"


# those with a text to read, which is on the screen at the end of a run
for finding in [finding for finding in TABLES.values() if finding.page]:

    rule:
        name:
            finding.name.replace("-", "_")
        input:
            **findings.inputs(finding.name, FILES),
        output:
            table=finding.file,
            page=report(
                finding.page.file,
                category=finding.page.category,
                caption=f"../report/{finding.page.caption}",
            ),
        log:
            artifacts.path(artifacts.LOG, job=finding.name.replace("-", "_")),
        resources:
            **SMALL,
        params:
            study=findings.values(finding.name, FILES),
            lost_inputs=lambda w, name=finding.name: findings.lost_inputs(name, FILES),
        message:
            f"Table {finding.name}, and its text"
        script:
            "../scripts/table.py"
