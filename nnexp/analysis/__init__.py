"""The results of a sweep: summary, statistics, comparison, figures and report.

- `results`: read from MLflow; has the public functions ``summarize`` and ``networks``
- `summary`: its types; `summarize`: their computation; `narrative`: the answer in words
- `trials`: runs as typed tables, and the public function ``grade``; `outcomes`: the networks of every trial
- `levels`, `effects`, `significance`, `compare`: statistics
- `playoff`: which settings may be the best, decided on fresh networks, and the region that they span
- `format`, `tables`, `formats`: text, Markdown, JSON, CSV and Parquet
- `report` with `figures`: the HTML page

It imports `network`, `search`, `recovery`, `study` and `tracking` of `nnexp`, and pandas, SciPy, pyarrow, Matplotlib
and Jinja.
"""
