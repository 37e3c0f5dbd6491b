"use strict";
// What the pages of align and segment share: pictures of films, a clock, and drawings that follow size and theme.
const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const told = (time) => data.unit === "seconds" ? `${time.toFixed(2)} s` : time.toFixed(0);

// A film as its pictures at the samples that the method looked at.
class Reel {
  constructor(film) {
    Object.assign(this, film);
    this.images = [];
    this.length = this.times.length;
  }

  get aspect() { return this.width / this.height; }

  // The last sample that is not later than a time.
  sample(time) {
    let low = 0, high = this.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= time + 1e-6) low = middle; else high = middle;
    }
    return low;
  }

  picture(sample) { return clamp(Math.floor(sample / this.step), 0, this.pictures.length - 1); }

  image(sample) {
    const number = this.picture(sample);
    if (!this.images[number]) {
      this.images[number] = new Image();
      this.images[number].src = `data:image/webp;base64,${this.pictures[number]}`;
    }
    return this.images[number];
  }

  // The loaded picture that is nearest to a sample, if any: paper does not wait for those that its width asks for.
  loaded(sample, come) {
    const image = this.image(sample), number = this.picture(sample);
    if (isLoaded(image)) return image;
    image.addEventListener("load", come, {once: true});
    const there = [...this.images.keys()].filter((k) => this.images[k] && isLoaded(this.images[k]));
    return this.images[there.sort((a, b) => Math.abs(a - number) - Math.abs(b - number))[0]];
  }

  // Show the picture of a sample, or a neutral one where there is none (-1).
  show(canvas, sample) {
    if (!this.pictures.length) return;
    canvas.dataset.sample = sample;
    const pen = canvas.getContext("2d");
    if (canvas.width !== this.width) [canvas.width, canvas.height] = [this.width, this.height];
    canvas.parentElement.classList.toggle("alone", sample < 0);
    if (sample < 0) {
      pen.clearRect(0, 0, this.width, this.height);
      return;
    }
    const image = this.image(sample);
    whenLoaded(image, () => {
      if (Number(canvas.dataset.sample) !== sample) return;
      pen.drawImage(image, 0, 0);
      canvas.dataset.drawn = sample;
    });
    for (let ahead = 1; ahead < 12; ahead++) if (sample + ahead < this.length) this.image(sample + ahead);
  }

  caption(sample) {
    if (sample < 0) return "no partner";
    const place = data.unit === "seconds" ? ` · ${told(this.times[sample])}` : "", kept = sample - sample % this.step;
    return `frame ${this.index[sample]}${place}${kept === sample ? "" : ` (picture of frame ${this.index[kept]})`}`;
  }
}

const isLoaded = (image) => image.complete && image.naturalWidth > 0;

function whenLoaded(image, act) {
  if (isLoaded(image)) act();
  else image.addEventListener("load", act, {once: true});
}

// Not a key of the browser or of the speed.
const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select"));

// Plays the film that leads at its own speed; `seek(sample)` is called with every new sample.
class Clock {
  constructor(leading, seek) {
    this.leading = leading;  // () => [reel, sample]
    this.seek = seek;
    this.playing = false;
    element("play").onclick = () => this.toggle();
    element("back").onclick = () => this.step(-1);
    element("next").onclick = () => this.step(1);
    element("slider").oninput = (event) => { this.stop(); this.seek(Number(event.target.value)); };
    document.addEventListener("keydown", (event) => this.key(event));
    // What was clicked would take the keys from the clock; what was reached by keys keeps them.
    document.addEventListener("click", (event) => { if (event.detail) event.target.closest("button, summary")?.blur(); }, true);
    const speed = element("speed");
    let clicked = false;
    speed.onpointerdown = () => { clicked = true; };
    speed.onblur = () => { clicked = false; };
    speed.onchange = () => { if (clicked) speed.blur(); };
  }

  key(event) {
    if (!isPlain(event)) return;
    const steps = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (steps) this.step(event.shiftKey ? 10 * steps : steps);
    else if (event.key === " " && !event.target.closest("button, summary")) this.toggle();
    else return;
    event.preventDefault();
  }

  step(by) {
    this.stop();
    const [reel, sample] = this.leading();
    this.seek(clamp(sample + by, 0, reel.length - 1));
  }

  toggle() {
    if (this.playing) { this.stop(); return; }
    const [reel, sample] = this.leading();
    const again = sample >= reel.length - 1;
    if (again) this.seek(0);
    this.playing = true;
    this.label();
    let time = reel.times[again ? 0 : sample], before = performance.now();
    const tick = (now) => {
      if (!this.playing) return;
      const [film, at] = this.leading();
      time += Math.max(0, now - before) / 1000 * Number(element("speed").value) * (data.unit === "seconds" ? 1 : 10);
      before = now;
      const next = film.sample(time);
      if (next !== at) this.seek(next);
      if (time >= film.end) this.stop(); else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  stop() { this.playing = false; this.label(); }

  label() {
    element("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
    element("play").querySelector("path").setAttribute("d", this.playing ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z");
  }
}

const [DARK, PRINT] = [matchMedia("(prefers-color-scheme: dark)"), matchMedia("print")];

// A canvas whose picture is drawn once for its size and theme, with marks on top of it that move; paper has its own of both.
class Drawing {
  constructor(canvas, still, moving) {
    this.canvas = canvas;
    this.still = still;    // (pen, width, height): in CSS pixels
    this.moving = moving;
    this.layer = document.createElement("canvas");
    new ResizeObserver(() => this.redraw()).observe(canvas);
    for (const media of [DARK, PRINT]) media.addEventListener("change", () => this.redraw());
  }

  redraw() {
    this.scale = PRINT.matches ? 3 : window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    if (!this.width || !this.height) return;
    for (const canvas of [this.canvas, this.layer]) {
      canvas.width = Math.round(this.width * this.scale);
      canvas.height = Math.round(this.height * this.scale);
    }
    const pen = this.layer.getContext("2d");
    pen.scale(this.scale, this.scale);
    this.still(pen, this.width, this.height);
    this.move();
  }

  // Draw the still layer again soon, once for many pictures that have come meanwhile.
  later() {
    if (this.waiting) return;
    this.waiting = setTimeout(() => { this.waiting = 0; this.redraw(); }, 30);
  }

  move() {
    if (!this.width) return;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.layer, 0, 0);
    pen.scale(this.scale, this.scale);
    this.moving(pen, this.width, this.height);
  }
}

// Round numbers between 0 and an end, about so many.
function ticks(end, about) {
  const raw = end / Math.max(about, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((value) => value >= raw * 0.999);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({length: Math.floor(end / step + 1e-6) + 1}, (_, k) => [k * step, (k * step).toFixed(digits)]);
}

const FONT = 'system-ui, "Segoe UI", Roboto, sans-serif';

// Write words, without their middle where they need more than the room, and a tail; returns where they end.
function text(pen, words, x, y, {align = "left", base = "alphabetic", size = 12, ink = "soft", weight = "", room = Infinity, tail = ""} = {}) {
  pen.font = `${weight} ${size}px ${FONT}`;
  [pen.textAlign, pen.textBaseline, pen.fillStyle] = [align, base, ink.startsWith("#") ? ink : colour(ink)];
  const told = shortened(pen, words, room - pen.measureText(tail).width) + tail;
  pen.fillText(told, x, y);
  return x + pen.measureText(told).width;
}

// Both ends stay: films of one camera or one day differ in one of them.
function shortened(pen, words, room) {
  const signs = Array.from(words);
  let told = words;
  for (let kept = signs.length - 1; kept > 1 && pen.measureText(told).width > room; kept--) {
    told = `${signs.slice(0, Math.ceil(kept / 2)).join("")}…${signs.slice(-Math.floor(kept / 2)).join("")}`;
  }
  return told;
}

// Round numbers below a line of time, inside of the picture.
function timeTicks(pen, end, place, y, width, unit = "") {
  pen.font = `11px ${FONT}`;
  for (const [time, words] of ticks(end, (place(end) - place(0)) / 65)) {
    const told = time ? words : words + unit, half = pen.measureText(told).width / 2;
    text(pen, told, clamp(place(time), half, width - half), y, {align: "center", size: 11});
  }
}

// The pictures of a film along its time, between two places of a line of height `tall`.
function filmstrip(pen, reel, left, right, top, tall, drawing) {
  pen.save();
  pen.beginPath();
  pen.roundRect(left, top, Math.max(1, right - left), tall, 4);
  pen.fillStyle = colour("void");
  pen.fill();
  pen.clip();
  const wide = clamp(tall * reel.aspect, 0.6 * tall, 2 * tall);
  const zoom = Math.max(wide / reel.width, tall / reel.height);
  const [w, h] = [wide / zoom, tall / zoom];
  for (let x = left; reel.pictures.length && x < right; x += wide) {
    const sample = reel.sample((x + Math.min(wide, right - x) / 2 - left) / (right - left) * reel.end);
    const image = reel.loaded(sample, () => drawing.later());
    if (image) pen.drawImage(image, (reel.width - w) / 2, (reel.height - h) / 2, w, h, x, top, wide, tall);
  }
  pen.restore();
}

function row(cells, action) {
  const line = document.createElement("tr");
  cells.forEach(([words, kind = "", swatch = ""], place) => {
    const cell = line.insertCell();
    cell.className = kind;
    const holder = place ? cell : cell.appendChild(document.createElement("button"));
    if (swatch) {
      const box = holder.appendChild(document.createElement("span"));
      box.className = "swatch";
      box.style.background = swatch;
    }
    holder.append(words);
  });
  line.onclick = action;
  return line;
}
