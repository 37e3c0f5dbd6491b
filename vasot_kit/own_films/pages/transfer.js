// The steps of the first film, and where the others show them.
const head = element("procedure").querySelector("thead").insertRow();
const doubts = {unclear: "match not clear", none: "no match"};
["step", ...reels.map((reel) => reel.name)].forEach((words, k) => {
  const cell = head.appendChild(document.createElement("th")), doubt = k && doubts[data.procedure.films[k - 1].kind];
  cell.scope = "col";
  cell.textContent = words;
  if (!doubt) return;
  const said = cell.appendChild(document.createElement("div"));
  [said.textContent, said.dataset.kind] = [doubt, data.procedure.films[k - 1].kind];
});
const span = (reel, start, end) => `${edgeOf(reel, start).toFixed(2)} – ${edgeOf(reel, end).toFixed(2)} s`;
// A button that goes to a part of a film.
function go(cell, film, start, end, sure) {
  const button = cell.appendChild(document.createElement("button"));
  button.type = "button";
  button.textContent = span(reels[film], start, end) + (sure === null ? "" : ` (${sure.toFixed(2)})`);
  button.onclick = (event) => { event.stopPropagation(); clock.stop(); seek(start, film); };
}

data.procedure.steps.forEach(({name, action}, k) => {
  const line = element("procedure").querySelector("tbody").insertRow();
  const title = line.insertCell(), box = title.appendChild(document.createElement("span"));
  box.className = "swatch";
  box.style.background = painted[action];
  title.append(`${k + 1} ${name}`);
  reels.forEach((reel, film) => {
    const cell = line.insertCell(), {states, found} = data.procedure.films[film], state = states[k] || "";
    cell.dataset.kind = {skipped: "none", "no match": "none", repeated: "part", "out of order": "part"}[state] || "";
    if (state && state !== "done") cell.append(`${state} `);
    for (const [, start, end, sure] of found.filter(([step]) => step === k)) go(cell, film, start, end, sure);
  });
});
if (data.procedure.films.some(({extra}) => extra.length)) {
  const line = element("procedure").querySelector("tbody").insertRow();
  line.insertCell().textContent = `not in ${reels[0].name}`;
  data.procedure.films.forEach(({extra}, film) => {
    const cell = line.insertCell();
    cell.dataset.kind = extra.length ? "part" : "";
    if (extra.length) cell.append("extra ");
    extra.forEach(([start, end]) => go(cell, film, start, end, null));
  });
}
if (data.procedure.films.some((film) => film.verdict)) {
  const line = element("procedure").querySelector("tbody").insertRow();
  line.insertCell().textContent = "verdict";
  data.procedure.films.forEach(({kind, verdict, reading}) => {
    const cell = line.insertCell();
    [cell.className, cell.textContent, cell.dataset.kind] = ["wide", verdict, kind];
    if (!reading) return;
    const more = cell.appendChild(document.createElement("p"));
    [more.className, more.textContent] = ["soft", reading];
  });
}
