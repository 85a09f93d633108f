"""The pages that people read: the report of a run, and the comparison of an ablation. Each is one HTML file.

    stage.py              the stages `report` and `data_report`
    figures.py            every number of a report, from manifests, metrics and scores; calls the next five
    funnel.py             records read -> documents kept: what was lost at each step, and why
    data_figures.py       sources, samples, changes, duplicates, lengths, languages, wikitext
    kept_figures.py       kept documents: samples, frequent lines and titles, other thresholds
    shard_figures.py      tokens, unknown characters, masks, row lengths
    timings.py            seconds and throughput of each stage
    captions.py           the captions of training and scores
    data_captions.py      the captions of data
    display_names.py      `near_duplicate` -> "near duplicate"
    page.py               figures -> report.html and report.json
    plots.py              training curves and scores as SVG
    diffs.py              text samples with changes and invisible characters marked
    comparison.py         results.json, results.md and results.html of an ablation
    intervals.py          means, deviations, differences and their intervals
    errors/               the page of errors of `evaluate`
    languages/            the same page in English and Chinese
    meeting/              what to decide, what is new, what failed, what it cost

Templates: base is the frame of every page. report.html.jinja includes meeting (with training and scores), data, kept and
shards; comparison is the page of an ablation; errors that of errors. charts has tables, and bars in HTML and CSS; style is
shared, and has the rules for print.
"""
