"""The pages that people read: the report of a run, and the comparison of an ablation. Each is one HTML file.

    stage.py              the stages `report` and `data_report`
    figures.py            every number of a report, from manifests, metrics and scores; calls the next four
    funnel.py             records read -> documents kept: what was lost at each step, and why
    data_figures.py       sources, samples, changes, duplicates, lengths, languages, wikitext
    shard_figures.py      tokens, unknown characters, masks, row lengths
    timings.py            seconds and throughput of each stage
    captions.py           the captions of training and scores
    data_captions.py      the captions of data
    display_names.py      `near_duplicate` -> "near duplicate"
    page.py               figures -> report.html and report.json
    plots.py              training curves and scores as SVG
    diffs.py              text samples with changes and invisible characters marked
    comparison.py         results.json, results.md and results.html of an ablation

Templates: report.html.jinja includes data, shards and training; charts draws bars in HTML and CSS; comparison is the page of an
ablation; style is shared.
"""
