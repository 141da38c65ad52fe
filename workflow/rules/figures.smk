"""Figures: style is a param here and nowhere else, so a new colour redraws and no more.

Figures that explain a phenomenon also read the gate's answer, whether there is one.
"""

from healscope.config.tracks import track_facts
from healscope.figures.catalogue import FIGURES

# tables that hold all tracks side by side, also those that are not followed
OF_ALL_TRACKS = [name for name, finding in TABLES.items() if "tracks" in finding.parameters()]
GATE = artifacts.path(artifacts.TABLE, table="gate")
# what a figure has to know of tracks, where they are more than models that play cards
PLAIN = not SEVERAL_TASKS and FILES.cards == FILES.followed
SHOWN_TRACKS = {} if PLAIN else {"tracks": track_facts(study, FILES.followed)}

POSSIBLE = [figure for figure in FIGURES.values() if figure.table in TABLES]
SHOWN = [figure.name for figure in POSSIBLE if figure.asked(study)]

for entry in POSSIBLE:

    rule:
        name:
            entry.name
        input:
            table=artifacts.path(artifacts.TABLE, table=entry.table),
            gate=[GATE] if entry.gate else [],
            published=PUBLISHED_FILES if entry.overlay and study.figures.published else [],
        output:
            pdf=artifacts.path(artifacts.FIGURE, figure=entry.name, format="pdf"),
            png=report(
                artifacts.path(artifacts.FIGURE, figure=entry.name, format="png"),
                category="Figures",
                caption="../report/figure.rst",
                labels={"figure": entry.name, "shows": entry.title},
            ),
        log:
            artifacts.path(artifacts.LOG, job=f"figure-{entry.name}"),
        group:
            one_job("figures")
        resources:
            **SMALL,
        params:
            **section("figures"),
            **({} if entry.table in OF_ALL_TRACKS else SHOWN_TRACKS),
            figure=entry.name,
            caption=entry.caption,
        message:
            f"Figure {entry.name}: {entry.title}"
        script:
            "../scripts/figure.py"


# the first seed's SFT alone: its jobs go first, so that there is something to see
LOOK = FIGURES["fig3a"]
FIRST_LOOK = artifacts.path(artifacts.FIGURE, figure="first_look", format="png")

if FILES.trained:
    FIRST = files.Files(study.first_look)

    rule first_look:
        input:
            **findings.inputs(LOOK.table, FIRST),
        output:
            png=report(
                FIRST_LOOK,
                category="Figures",
                caption="../report/figure.rst",
                labels={"figure": "first_look", "shows": f"{LOOK.title}, first seed"},
            ),
            pdf=artifacts.path(artifacts.FIGURE, figure="first_look", format="pdf"),
        log:
            artifacts.path(artifacts.LOG, job="figure-first_look"),
        priority: FIRST_SEED
        resources:
            **SMALL,
        params:
            **section("figures"),
            **SHOWN_TRACKS,
            study=findings.values(LOOK.table, FIRST),
            figure=LOOK.name,
            caption=LOOK.caption,
        message:
            f"First look, at seed {study.seeds[0]}"
        script:
            "../scripts/first_look.py"
