// All films of a segmentation: one plays, the timelines of all of them lie below each other.
const reels = data.films.map((film) => new Reel(film));
const state = {film: 0, at: 0};
const edgeOf = (reel, sample) => sample < reel.length ? reel.times[sample] : reel.end;
const segmentAt = (reel, sample) => reel.segments.findIndex(([, start, end]) => start <= sample && sample < end);
const [screen, step] = [document.querySelector("figure canvas"), element("step")];

// The colour of an action; grey stands for none.
const shade = (action) => action === data.background ? "#b4bac2" : data.colours[action % data.colours.length];

// A small tile in the colour of an action; from the tenth on colours come again, hatched.
function tile(action) {
  const canvas = document.createElement("canvas"), turn = Math.floor(action / data.colours.length) % 4;
  [canvas.width, canvas.height] = [8, 8];
  const pen = canvas.getContext("2d");
  pen.fillStyle = shade(action);
  pen.fillRect(0, 0, 8, 8);
  if (action === data.background) return canvas;
  [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = ["#ffffffb0", "#ffffffb0", 1.4];
  const lines = {1: [[0, 8, 8, 0]], 3: [[0, 8, 8, 0], [0, 0, 8, 8]]}[turn] || [];
  for (const [a, b, c, d] of lines) { pen.beginPath(); pen.moveTo(a, b); pen.lineTo(c, d); pen.stroke(); }
  if (turn === 2) pen.fillRect(3, 3, 2.5, 2.5);
  return canvas;
}
const tiles = data.actions.map((_, action) => tile(action));
const painted = tiles.map((each) => `url(${each.toDataURL()})`);
// Black or white, whichever is read more easily on the colour of an action of this opacity over white.
function inkOn(action, opacity = 1) {
  const light = [1, 3, 5].map((k) => (1 - opacity) + opacity * parseInt(shade(action).slice(k, k + 2), 16) / 255);
  const [r, g, b] = light.map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.18 ? "#000" : "#fff";  // at 0.18 both contrasts are 4.6
}

function seek(at, film = state.film) {
  const other = film !== state.film;
  [state.film, state.at] = [film, clamp(at, 0, reels[film].length - 1)];
  if (other) timelines.redraw();
  render();
}

function render() {
  const reel = reels[state.film], found = reel.segments[segmentAt(reel, state.at)], slider = element("slider");
  const name = found ? data.actions[found[0]] : "";
  reel.show(screen, state.at);
  screen.setAttribute("aria-label", `${reel.name}, ${reel.caption(state.at)}, ${name}`);
  step.firstChild.textContent = name;
  step.style.backgroundImage = found ? painted[found[0]] : "none";
  if (found) [step.firstChild.style.background, step.firstChild.style.color] = [shade(found[0]), inkOn(found[0])];
  document.querySelector("figcaption b").textContent = reel.name;
  document.querySelector("figcaption output").textContent = reel.caption(state.at);
  [slider.max, slider.value] = [reel.length - 1, state.at];
  slider.setAttribute("aria-valuetext", `${reel.name}, ${reel.caption(state.at)}, ${name}`);
  element("clock").textContent = data.unit === "seconds" ? `${reel.times[state.at].toFixed(2)} / ${reel.end.toFixed(2)} s` : `${state.at} / ${reel.length - 1}`;
  document.querySelectorAll("#actions tbody tr").forEach((line, k) => line.classList.toggle("now", Boolean(found) && k === found[0]));
  timelines.move();
}

// ---- the timelines of all films

const ROW = 30, BAR = 20, STRIP = 46;
function layout(width) {
  const names = Math.min(width / 3, 240, Math.max(...reels.map((reel) => 8 * reel.name.length)) + 14);
  const longest = Math.max(...reels.map((reel) => reel.end));
  const strip = reels[0].pictures.length ? STRIP + 6 : 0;  // above the film that is shown
  return {
    names, longest, strip, place: (time) => names + time / longest * (width - names - 8),
    time: (x) => (x - names) / (width - names - 8) * longest,
    top: (film) => 4 + film * ROW + (film >= state.film ? strip : 0),
  };
}

const timelines = new Drawing(element("timelines"), (pen, width, height) => {
  const at = layout(width);
  const patterns = tiles.map((each) => pen.createPattern(each, "repeat"));
  reels.forEach((reel, film) => {
    const y = at.top(film), now = film === state.film;
    if (now && at.strip) filmstrip(pen, reel, at.place(0), at.place(reel.end), y - at.strip + 2, STRIP, timelines);
    text(pen, reel.name, 0, y + BAR / 2 + 1, {base: "middle", ink: now ? "ink" : "soft", weight: now ? "600" : "", size: 13, room: at.names - 10});
    for (const [action, start, end, again] of reel.segments) {
      const [a, b] = [at.place(edgeOf(reel, start)), at.place(edgeOf(reel, end))];
      const opacity = again === null ? 1 : 0.25 + 0.75 * again, middle = (a + b) / 2;
      const fill = (style, left, top, wide, tall) => {  // over white: pale is pale on dark pages as well
        [pen.fillStyle, pen.globalAlpha] = ["#fff", 1];
        pen.fillRect(left, top, wide, tall);
        [pen.fillStyle, pen.globalAlpha] = [style, opacity];
        pen.fillRect(left, top, wide, tall);
        pen.globalAlpha = 1;
      };
      fill(patterns[action], a, y, Math.max(0.6, b - a - 1), BAR);
      if (b - a < 18 || action === data.background) continue;
      // Keeps the hatching away from the number.
      if (action >= data.colours.length) fill(shade(action), middle - 9, y + 3, 18, BAR - 6);
      text(pen, data.numbers[action], middle, y + BAR / 2 + 1, {align: "center", base: "middle", size: 11, ink: inkOn(action, opacity)});
    }
  });
  timeTicks(pen, at.longest, at.place, height - 6, width, data.unit === "seconds" ? " s" : "");
}, (pen, width) => {
  const at = layout(width), reel = reels[state.film], x = at.place(reel.times[state.at]), y = at.top(state.film);
  pen.strokeStyle = colour("ink");
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, y - at.strip);
  pen.lineTo(x, y + BAR + 3);
  pen.stroke();
});
element("timelines").style.height = `${reels.length * ROW + layout(1).strip + 32}px`;

element("timelines").onclick = (event) => {
  const at = layout(timelines.width), y = event.offsetY;
  let film = 0;
  while (film + 1 < reels.length && y >= at.top(film + 1) - (film + 1 === state.film ? at.strip : 0) - 5) film++;
  clock.stop();
  seek(reels[film].sample(clamp(at.time(event.offsetX), 0, reels[film].end)), film);
};

document.addEventListener("keydown", (event) => {
  const by = {ArrowUp: -1, ArrowDown: 1}[event.key];
  if (!by || !isPlain(event)) return;
  event.preventDefault();
  clock.stop();
  const film = clamp(state.film + by, 0, reels.length - 1);
  if (film !== state.film) seek(0, film);
});

// ---- the actions

const segments = reels.flatMap((reel, film) => reel.segments.map(([action, start, end, again]) => (
  {film, action, start, end, again, long: edgeOf(reel, end) - edgeOf(reel, start)})));
const known = segments.every((each) => each.again !== null);
document.querySelectorAll(".again").forEach((part) => part.hidden = !known);
const total = segments.reduce((sum, each) => sum + each.long, 0);
element("actions").querySelector("tbody").append(...data.actions.map((name, action) => {
  const own = segments.filter((each) => each.action === action), sum = own.reduce((all, each) => all + each.long, 0);
  const line = row([[name, "", painted[action]], [`${Math.round(100 * sum / total)} %`, "number"],
    [String(new Set(own.map((each) => each.film)).size), "number"], [String(own.length), "number"],
    [own.length ? told(own.map((each) => each.long).sort((a, b) => a - b)[own.length >> 1]) : "–", "number"],
    ...(known ? [[own.length ? `${Math.round(100 * own.reduce((all, each) => all + each.again * each.long, 0) / sum)} %` : "–", "number"]] : [])], () => {
    const mine = own.filter((each) => each.film === state.film);
    const next = mine.find((each) => each.start > state.at) || mine[0] || own[0];
    clock.stop();
    if (next) seek(next.start, next.film);
  });
  line.hidden = action === data.background && !own.length;
  return line;
}));

if (reels[0].pictures.length) {
  element("gallery").hidden = false;
  const pen = document.createElement("canvas").getContext("2d");  // measures the names below the pictures
  pen.font = `12.5px ${FONT}`;
  data.actions.forEach((name, action) => {
    if (action === data.background) return;
    const line = element("gallery").querySelector("div").appendChild(document.createElement("div"));
    line.className = "looks";
    const head = line.appendChild(document.createElement("h3")), box = head.appendChild(document.createElement("span"));
    box.className = "swatch";
    box.style.background = painted[action];
    head.append(name);
    const shown = line.appendChild(document.createElement("div"));
    reels.forEach((reel, film) => {
      const longest = segments.filter((each) => each.film === film && each.action === action)
        .sort((a, b) => (b.end - b.start) - (a.end - a.start))[0];
      if (!longest) return;
      const middle = (longest.start + longest.end) >> 1, button = shown.appendChild(document.createElement("button"));
      const image = button.appendChild(document.createElement("img"));
      button.type = "button";
      image.src = reel.image(middle).src;
      image.alt = `${name} in ${reel.name}, ${reel.caption(middle)}`;
      button.title = image.alt;
      button.append(shortened(pen, reel.name, 138));
      button.onclick = () => { clock.stop(); seek(longest.start, film); scrollTo({top: 0, behavior: "smooth"}); };
    });
  });
} else document.querySelector("figure").classList.add("bare");

const clock = new Clock(() => [reels[state.film], state.at], (sample) => seek(sample));
render();
