// Films locked together: one of them leads, the others show what was matched with its frame.
const reels = data.films.map((film) => new Reel(film));
const state = {lead: 0, at: 0, pair: 0};
const pair = () => data.pairs[state.pair];
const piecesOf = (each) => each.pieces.length > 1 ? each.pieces : null;  // one piece is the whole film
// The colours of Okabe and Ito, on light and on dark, for the pieces that both films show.
const PAINTS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
const paint = (number) => {
  const before = pair().pieces.slice(0, number).filter((each) => each.x && each.y).length;
  return pair().pieces.length > 1 ? PAINTS[before % PAINTS.length] : colour("accent");
};

// The pieces that the second film shows once more.
const again = (each) => each.pieces.map((piece, k) => ({...piece, k})).filter((piece) => piece.again);

// The sample of film k that belongs to the one that leads; -1 where there is none.
function where(k) {
  if (k === state.lead) return state.at;
  const first = state.lead ? data.pairs[state.lead - 1].back[state.at] : state.at;
  return k === 0 || first < 0 ? first : data.pairs[k - 1].partner[first];
}

function seek(at, lead = state.lead) {
  if (lead !== state.lead && lead > 0) choosePair(lead - 1);
  state.lead = lead;
  state.at = clamp(at, 0, reels[lead].length - 1);
  render();
}

const screens = reels.map((reel, k) => {
  const figure = document.createElement("figure");
  figure.innerHTML = '<canvas role="img"></canvas><figcaption><b></b><output></output></figcaption>';
  figure.querySelector("b").textContent = reel.name;
  figure.querySelector("canvas").onclick = () => {
    const now = where(k);
    if (now >= 0) { clock.stop(); seek(now, k); }
  };
  document.querySelector(".films").append(figure);
  return figure;
});
document.querySelector(".films").style.setProperty("--tall", reels.length > 3 ? "13rem" : "21rem");
if (reels.length > 3) document.querySelector(".films").style.setProperty("--least", "12rem");

function render() {
  reels.forEach((reel, k) => {
    const sample = where(k), figure = screens[k], canvas = figure.querySelector("canvas");
    reel.show(canvas, sample);
    canvas.setAttribute("aria-label", `${reel.name}, ${reel.caption(sample)}`);
    figure.querySelector("output").textContent = reel.caption(sample);
    figure.classList.toggle("leads", k === state.lead);
  });
  const reel = reels[state.lead], slider = element("slider");
  slider.max = reel.length - 1;
  slider.value = state.at;
  slider.setAttribute("aria-valuetext", `${reel.name}, ${reel.caption(state.at)}`);
  element("clock").textContent = `${reel.times[state.at].toFixed(2)} / ${reel.end.toFixed(2)} s`;
  const first = where(0), now = first < 0 ? -1 : pair().piece[first];
  document.querySelectorAll("#pieces tbody tr").forEach((line, k) => line.classList.toggle("now", k === now));
  plan.move();
  strips.move();
  together.move();
}

// ---- the transport plan

const edge = {left: 44, right: 8, top: 8, bottom: 36};
const planImage = new Image();
function planBox(width, height) {
  return {x: edge.left, y: edge.top, w: width - edge.left - edge.right, h: height - edge.top - edge.bottom};
}

const plan = new Drawing(element("plan"), (pen, width, height) => {
  const box = planBox(width, height), [x, y] = [reels[0], reels[state.pair + 1]];
  pen.fillStyle = colour("tint");
  pen.fillRect(box.x, box.y, box.w, box.h);
  if (planImage.complete && planImage.naturalWidth) {
    pen.imageSmoothingEnabled = planImage.naturalWidth > box.w;
    pen.drawImage(tinted(planImage), box.x, box.y, box.w, box.h);
  }
  const across = (j) => box.x + (j + 0.5) / y.length * box.w, down = (i) => box.y + (i + 0.5) / x.length * box.h;
  for (const [wide, ink] of [[5, () => colour("paper")], [2.2, paint]]) {  // a halo keeps the line visible on full cells
    pen.lineWidth = wide;
    for (let i = 1; i < x.length; i++) {
      const [before, after] = [pair().matches[i - 1], pair().matches[i]];
      if (before === null || after === null || pair().piece[i] !== pair().piece[i - 1]) continue;
      pen.strokeStyle = ink(pair().piece[i]);
      pen.beginPath();
      pen.moveTo(across(before), down(i - 1));
      pen.lineTo(across(after), down(i));
      pen.stroke();
    }
  }
  for (const {x: [a, b], y: [c, d], k} of again(pair())) {
    pen.strokeStyle = paint(k);
    pen.setLineDash([5, 4]);
    pen.beginPath();
    pen.moveTo(across(c), down(a));
    pen.lineTo(across(d - 1), down(b - 1));
    pen.stroke();
    pen.setLineDash([]);
  }
  pen.strokeStyle = colour("line");
  pen.lineWidth = 1;
  pen.strokeRect(box.x, box.y, box.w, box.h);
  for (const [at, words] of ticks(y.end, 6)) text(pen, words, box.x + at / y.end * box.w, box.y + box.h + 15, {align: "center", size: 11});
  for (const [at, words] of ticks(x.end, 6)) text(pen, words, box.x - 6, box.y + at / x.end * box.h, {align: "right", base: "middle", size: 11});
  text(pen, `${y.name}, seconds`, box.x + box.w / 2, height - 4, {align: "center", size: 12});
  pen.save();
  pen.translate(11, box.y + box.h / 2);
  pen.rotate(-Math.PI / 2);
  text(pen, `${x.name}, seconds`, 0, 0, {align: "center", size: 12});
  pen.restore();
}, (pen, width, height) => {
  const box = planBox(width, height), i = where(0), j = where(state.pair + 1);
  const across = box.x + (j + 0.5) / reels[state.pair + 1].length * box.w, down = box.y + (i + 0.5) / reels[0].length * box.h;
  pen.strokeStyle = colour("bad");
  pen.lineWidth = 1;
  pen.beginPath();
  if (i >= 0) { pen.moveTo(box.x, down); pen.lineTo(box.x + box.w, down); }
  if (j >= 0) { pen.moveTo(across, box.y); pen.lineTo(across, box.y + box.h); }
  pen.stroke();
  if (i < 0 || j < 0) return;
  pen.fillStyle = colour("bad");
  pen.beginPath();
  pen.arc(across, down, 4.5, 0, 7);
  pen.fill();
});

// The plan as the opacity of the theme's ink.
function tinted(image) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  const ink = [1, 3, 5].map((place) => parseInt(colour("plan").slice(place, place + 2), 16));
  for (let k = 0; k < pixels.data.length; k += 4) {
    const share = pixels.data[k];
    [pixels.data[k], pixels.data[k + 1], pixels.data[k + 2], pixels.data[k + 3]] = [...ink, share];
  }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

element("plan").onclick = (event) => {
  const box = planBox(plan.width, plan.height);
  const [across, down] = [(event.offsetX - box.x) / box.w, (event.offsetY - box.y) / box.h];
  if (across < 0 || across > 1 || down < 0 || down > 1) return;
  clock.stop();
  seek(Math.floor(down * reels[0].length), 0);
};

// ---- both films along time, and what belongs together between them

const TALL = 52, SIDE = 8;
function stripLayout(width, height) {
  const longest = Math.max(reels[0].end, reels[state.pair + 1].end);
  const band = pair().confidence ? 34 : 0;
  return {
    place: (time) => SIDE + time / longest * (width - 2 * SIDE), time: (x) => (x - SIDE) / (width - 2 * SIDE) * longest,
    band, x: 20 + band, y: height - 40 - TALL, longest,
  };
}

const strips = new Drawing(element("strips"), (pen, width, height) => {
  const at = stripLayout(width, height), [x, y] = [reels[0], reels[state.pair + 1]];
  text(pen, x.name, SIDE, 12, {ink: "ink", weight: "600", size: 12});
  if (at.band) drawConfidence(pen, at, width);
  filmstrip(pen, x, at.place(0), at.place(x.end), at.x, TALL, strips);
  filmstrip(pen, y, at.place(0), at.place(y.end), at.y, TALL, strips);
  const [top, bottom] = [at.x + TALL + 3, at.y - 3];
  let drawn = -Infinity;
  pen.lineWidth = 1.2;
  for (let i = 0; i < x.length; i++) {
    const j = pair().matches[i];
    if (j === null) continue;
    const next = i + 1 < x.length && pair().piece[i + 1] === pair().piece[i] ? pair().matches[i + 1] : null;
    const until = (film, sample) => sample < film.length ? film.times[sample] : film.end;
    const [a, b] = [at.place(x.times[i]), at.place(until(x, i + 1))];
    const [c, d] = [at.place(between(y, j)), at.place(next === null ? Math.min(y.end, between(y, j) + y.end / y.length) : between(y, next))];
    const sure = pair().confidence ? pair().confidence[i] ?? 0 : 0.6;
    const ink = paint(pair().piece[i]), middle = (top + bottom) / 2;
    pen.globalAlpha = 0.06 + 0.24 * sure;
    pen.fillStyle = ink;
    pen.beginPath();
    pen.moveTo(a, top); pen.lineTo(b, top); pen.bezierCurveTo(b, middle, d, middle, d, bottom);
    pen.lineTo(c, bottom); pen.bezierCurveTo(c, middle, a, middle, a, top);
    pen.fill();
    if (a < drawn + 14) continue;
    drawn = a;
    pen.globalAlpha = 0.25 + 0.6 * sure;
    pen.strokeStyle = ink;
    pen.beginPath();
    pen.moveTo(a, top); pen.bezierCurveTo(a, middle, c, middle, c, bottom);
    pen.stroke();
  }
  const until = (film, sample) => at.place(sample < film.length ? film.times[sample] : film.end);
  for (const {x: [i, j], y: [k, l], k: number} of again(pair())) {
    const [a, b, c, d] = [until(x, i), until(x, j), until(y, k), until(y, l)], middle = (top + bottom) / 2;
    pen.globalAlpha = 0.2;
    pen.fillStyle = paint(number);
    pen.beginPath();
    pen.moveTo(a, top); pen.lineTo(b, top); pen.bezierCurveTo(b, middle, d, middle, d, bottom);
    pen.lineTo(c, bottom); pen.bezierCurveTo(c, middle, a, middle, a, top);
    pen.fill();
  }
  pen.globalAlpha = 1;
  text(pen, y.name, SIDE, height - 22, {ink: "ink", weight: "600", size: 12});
  for (const [time, words] of ticks(at.longest, width / 90)) {
    if (time > at.longest) continue;
    text(pen, time ? words : `${words} s`, at.place(time), height - 6, {align: time ? "center" : "left", size: 11});
  }
}, (pen, width, height) => {
  const at = stripLayout(width, height), [i, j] = [where(0), where(state.pair + 1)];
  const [x, y] = [reels[0], reels[state.pair + 1]];
  pen.strokeStyle = colour("bad");
  pen.lineWidth = 2;
  pen.beginPath();
  const [top, bottom] = [at.place(i < 0 ? 0 : x.times[i]), at.place(j < 0 ? 0 : y.times[j])];
  if (i >= 0) { pen.moveTo(top, at.x - at.band); pen.lineTo(top, at.x + TALL + 3); }
  if (j >= 0) { pen.moveTo(bottom, at.y - 3); pen.lineTo(bottom, at.y + TALL); }
  if (i >= 0 && j >= 0) {
    pen.moveTo(top, at.x + TALL + 3);
    pen.bezierCurveTo(top, (at.x + TALL + at.y) / 2, bottom, (at.x + TALL + at.y) / 2, bottom, at.y - 3);
  }
  pen.stroke();
});

// Seconds at a fractional sample.
function between(reel, sample) {
  const low = clamp(Math.floor(sample), 0, reel.length - 1), high = Math.min(low + 1, reel.length - 1);
  return reel.times[low] + (sample - low) * (reel.times[high] - reel.times[low]);
}

function drawConfidence(pen, at, width) {
  const x = reels[0], [low, tall] = [at.x - 4, at.band - 8];
  pen.fillStyle = colour("tint");
  pen.fillRect(at.place(0), low - tall, at.place(x.end) - at.place(0), tall);
  pen.fillStyle = colour("good");
  pair().confidence.forEach((sure, i) => {
    const until = i + 1 < x.length ? x.times[i + 1] : x.end, high = tall * (sure ?? 0);
    pen.globalAlpha = 0.75;
    pen.fillRect(at.place(x.times[i]), low - high, Math.max(0.6, at.place(until) - at.place(x.times[i])), high);
  });
  pen.globalAlpha = 1;
  const words = "confidence, 0 to 1";
  pen.font = `600 12px ${FONT}`;
  const name = SIDE + pen.measureText(x.name).width + 12;  // a short film's name is longer than its line
  pen.font = `11px ${FONT}`;
  text(pen, words, Math.max(name, at.place(x.end) - pen.measureText(words).width), 12, {size: 11});
}

element("strips").onclick = (event) => {
  const at = stripLayout(strips.width, strips.height), lead = event.offsetY > (at.x + TALL + at.y) / 2 ? state.pair + 1 : 0;
  clock.stop();
  seek(reels[lead].sample(clamp(at.time(event.offsetX), 0, reels[lead].end)), lead);
};

// ---- tables

function choosePair(number) {
  state.pair = number;
  const {verdict, kind} = pair(), [x, y] = [reels[0], reels[number + 1]];
  element("verdict").hidden = !verdict || data.pairs.length > 1;  // of several films the table says it
  element("verdict").textContent = verdict;
  element("verdict").dataset.kind = kind;
  element("reading").textContent = pair().reading;
  const route = pair().matches.some((j) => j !== null);
  element("route").textContent = route ? "Line: the path that was read from it." : "No path: nothing matches.";
  planImage.src = `data:image/png;base64,${pair().plan}`;
  element("plan").setAttribute("aria-label", `Transport plan between the frames of ${x.name} (down) and ${y.name} (across)${route ? ", with the path that was read from it" : ""}`);
  element("strips").setAttribute("aria-label", `Timelines of ${x.name} (above) and ${y.name} (below) with bands between moments that match`);
  document.querySelectorAll("#overview tbody tr").forEach((line, k) => line.classList.toggle("now", k === number));
  const found = piecesOf(pair()), table = element("pieces");
  table.hidden = !found;
  const span = (reel, range) => range ? `${told(reel.times[range[0]])} – ${told(range[1] < reel.length ? reel.times[range[1]] : reel.end)}` : "–";
  table.querySelector("thead").replaceChildren();
  const head = table.querySelector("thead").insertRow();
  for (const words of ["piece", x.name, y.name, "share"]) {
    const cell = head.appendChild(document.createElement("th"));
    cell.scope = "col";
    cell.textContent = words;
  }
  table.querySelector("tbody").replaceChildren(...(found || []).map((each, k) => row([
    [each.again ? `once more in ${y.name}` : each.x && each.y ? `in both` : `only in ${each.x ? x.name : y.name}`, "", each.x && each.y ? paint(k) : colour("void")],
    [span(x, each.x)], [span(y, each.y)], [each.share === null ? "–" : `${Math.round(100 * each.share)} %`, "number"],
  ], () => { clock.stop(); if (each.x && !each.again) seek(each.x[0], 0); else seek(each.y[0], number + 1); })));
  plan.redraw();
  strips.redraw();
}

planImage.onload = () => plan.redraw();
const clock = new Clock(() => [reels[state.lead], state.at], (sample) => seek(sample));
if (data.pairs.length > 1) {
  element("overview").hidden = false;
  const sure = (each) => each.sure === null ? "–" : each.sure.toFixed(2);
  document.querySelector("#overview tbody").append(...data.pairs.map((each, k) => row([
    [reels[k + 1].name], [each.verdict || "–", "wide"], [sure(each), "number"], [`${Math.round(100 * each.matched)} %`, "number"],
    [each.offset === null ? "–" : `${(each.offset + 0).toFixed(2).replace(/^-(0\.0*)$/, "$1")} s`, "number"], [`${reels[k + 1].end.toFixed(2)} s`, "number"],
  ], () => { clock.stop(); choosePair(k); render(); })));
  document.querySelectorAll("#overview tbody tr").forEach((line, k) => line.cells[1].dataset.kind = data.pairs[k].kind);
}
choosePair(0);
render();
