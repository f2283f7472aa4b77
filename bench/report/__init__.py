"""Runs of `edgelora-bench load` as a page with tables and charts, as Markdown and as JSON.

tools/report starts it; docs/performance/report.md describes it. A run's file is hostile input. Its way through the package:

    fields      values out of a JSON file, each checked; an error names the file and the field
    run, facts  what the report knows of one run
    comparison  repetitions become medians, equal workloads stand beside each other
    tables      what HTML and Markdown show alike
    charts      which charts there are; drawing draws one with matplotlib, only for HTML
    page, markdown, as_json
                the three forms; text holds what hostile names go through before they stand in one
"""
