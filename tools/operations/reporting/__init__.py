"""Reports as HTML pages: of one checkpoint, or of two side by side, in one file.

- `graphs.py`: the object graph in a report.
- `layers.py`: the largest layers of a model.
- `page.py`: the HTML file that shows data, from the files in the folder "assets": `page.html`, `page.css`, our scripts in
  the order that the module has, and `echarts.min.js`, which is Apache ECharts 6.1.0, unmodified, with its license and
  notice beside it.
- `contents.py`: the contents of a report, as data; `report`.
"""
