"""Compare models from files of their outcomes: logs of lm-evaluation-harness or inspect, or JSONL.

`reading` reads files and lines their items up, `paired` has the statistics of one pair,
`comparing` makes the report (plain values, as its JSON file has them), `gate` judges conditions
such as "gsm8k < -3", `words` and `page` write the report as Markdown and HTML. Nothing here needs
torch, lm_eval or inspect_ai.
"""
