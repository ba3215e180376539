// Shows the data, as a report of one checkpoint or of two.

document.title = "tensorbundle report: " + DATA.title;
for (const id of ["title", "subtitle", "footer"]) document.getElementById(id).textContent = DATA[id];
(DATA.page === "comparison" ? comparisonPage : checkpointPage)();
document.documentElement.dataset.ready = "true";
