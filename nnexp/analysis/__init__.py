"""What a sweep says: summary, statistics, comparison, figures and report.

- `results`: read from MLflow; holds the public functions ``summarize`` and ``networks``
- `summary`: the types; `summarize`: how they are computed; `narrative`: the answer in words
- `trials`: runs as typed tables, and the public function ``grade``; `outcomes`: the networks of every trial
- `levels`, `effects`, `significance`, `compare`: statistics
- `playoff`: which settings may be the best, decided on fresh networks, and the region that they span
- `format`, `tables`, `formats`: text, Markdown, JSON, CSV and Parquet
- `report` with `figures`: the HTML page

Imports pandas, SciPy, Matplotlib and Jinja, and from `nnexp` the packages `network`, `search`, `recovery`, `study`
and `tracking`.
"""
