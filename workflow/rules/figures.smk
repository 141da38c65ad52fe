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

TOGETHER = SEVERAL_TASKS and set(study.tracks) == set(FILES.followed)
MAIN_PROTOCOL = study.evaluation.protocols[EXHAUSTIVE]
OPTIONAL = {  # figures that a study must ask for, or cannot have
    "fig_arms": bool(set(CONTROLS) & set(study.sft.arms)),
    "fig_methods": bool(set(study.sft.methods) & set(study.sft.arms)),
    # all tracks, also those that are not followed: then they are trained for these figures
    **{f: TOGETHER for f in ("fig9", "fig_tasks")},
    "fig_episodes": bool(set(FILES.episodic) & set(FILES.followed)),
    "fig_protocols": bool(FILES.others) or MAIN_PROTOCOL != MAIN_PROTOCOL.first_attempts(),
}
SHOWN = [n for n, f in FIGURES.items() if OPTIONAL.get(n, True) and f.table in TABLES]

for entry in [f for f in FIGURES.values() if f.table in TABLES]:

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
                caption=f"../report/{entry.caption}",
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
        message:
            f"Figure {entry.name}: {entry.title}"
        script:
            "../scripts/figure.py"
