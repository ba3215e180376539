"""A page to look at: one checkpoint, or two side by side, as one HTML file.

- `graphs.py`: the object graph as a report shows it.
- `page.py`: the HTML file that shows data, from the files in the folder "assets" (`echarts.min.js` is Apache ECharts 6.1.0, with
  its license and notice beside it, as its authors publish it).
- `contents.py`: what a report says, as data; `report`.
"""
