// What panels are drawn with. A panel has a still layer, drawn again only where its data or its size change, and marks on
// top of it that move. Places are in CSS pixels.
class Panel {
  constructor(explorer, area, title, {left = 46, right = 10, top = 8, bottom = 34} = {}) {
    Object.assign(this, {explorer, colours: explorer.colours, margin: {left, right, top, bottom}, fresh: false});
    [this.canvas, this.layer] = [make("canvas"), make("canvas")];
    this.canvas.setAttribute("role", "img");
    this.heading = make("figcaption", {textContent: title});
    this.figure = make("figure", {}, this.heading, this.canvas);
    this.figure.style.gridArea = this.figure.dataset.area = area;
    this.summary(title);
    explorer.stage.append(this.figure);
    (explorer.all ??= []).push(this);
    new ResizeObserver(() => { this.fresh = false; explorer.ask(); }).observe(this.canvas);
  }

  // What the panel shows, for readers who cannot see it.
  summary(words) { this.canvas.setAttribute("aria-label", words); }

  title(words) { if (this.heading.textContent !== words) this.heading.textContent = words; }

  // Limits of the axes; a logarithmic axis takes logarithms.
  limits(x, y) {
    [this.x, this.y, this.fresh] = [x, y, false];
  }

  get inner() {
    const {left, right, top, bottom} = this.margin;
    return {left, top, width: Math.max(1, this.width - left - right), height: Math.max(1, this.height - top - bottom)};
  }

  px(x) { return this.inner.left + (x - this.x[0]) / (this.x[1] - this.x[0]) * this.inner.width; }

  py(y) { return this.inner.top + (y - this.y[0]) / (this.y[1] - this.y[0]) * this.inner.height; }

  // The sheet of pictures of a recording, which is drawn once it has been read.
  sheetOf(pictures) {
    return make("img", {src: pictures.sheet, onload: () => { this.fresh = false; this.explorer.ask(); }});
  }

  still() {}

  moving() {}

  draw() {
    const scale = window.devicePixelRatio || 1, pen = this.canvas.getContext("2d");
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width || !height) return;
    if (!this.fresh || width !== this.width || height !== this.height || scale !== this.scale) {
      Object.assign(this, {width, height, scale, fresh: true});
      const size = {width: Math.round(width * scale), height: Math.round(height * scale)};
      for (const canvas of [this.canvas, this.layer]) Object.assign(canvas, size);
      const still = this.layer.getContext("2d");
      still.scale(scale, scale);
      this.still(still);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.layer, 0, 0);
    pen.scale(scale, scale);
    this.moving(pen);
  }

  text(pen, words, x, y, {align = "center", base = "middle", size = 11, ink = this.colours.ink, weight = ""} = {}) {
    pen.font = `${weight} ${size}px ${FONT}`;
    [pen.textAlign, pen.textBaseline, pen.fillStyle] = [align, base, ink];
    pen.fillText(words, x, y);
  }

  line(pen, points, colour, width = 1, dash = []) {
    pen.beginPath();
    points.forEach(([x, y], k) => k ? pen.lineTo(x, y) : pen.moveTo(x, y));
    [pen.strokeStyle, pen.lineWidth] = [colour, width];
    pen.setLineDash(dash);
    pen.stroke();
    pen.setLineDash([]);
  }

  circle(pen, x, y, radius, colour, width = 2, fill = false) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    [pen.strokeStyle, pen.fillStyle, pen.lineWidth] = [colour, colour, width];
    if (fill) pen.fill(); else pen.stroke();
  }

  // Lines at the left and below, with ticks; `name` is written along each.
  axes(pen, {xTicks = [], yTicks = [], xName = "", yName = "", gap = 0} = {}) {
    const {left, top, width, height} = this.inner, {soft, ink} = this.colours;
    if (!gap) this.line(pen, [[left, top], [left, top + height], [left + width, top + height]], soft, 0.8);
    for (const [x, words] of xTicks) {
      if (!gap) this.line(pen, [[this.px(x), top + height], [this.px(x), top + height + 3]], soft, 0.8);
      this.text(pen, words, this.px(x), top + height + gap + 10);
    }
    for (const [y, words] of yTicks) {
      if (!gap) this.line(pen, [[left - 3, this.py(y)], [left, this.py(y)]], soft, 0.8);
      this.text(pen, words, left - gap - 6, this.py(y), {align: "right"});
    }
    this.text(pen, xName, left + width / 2, this.height - 7, {ink});
    pen.save();
    pen.translate(8, top + height / 2);
    pen.rotate(-Math.PI / 2);
    this.text(pen, yName, 0, 0);
    pen.restore();
  }

  // The steps of a recording as coloured segments; `place` gives the box of a part from frame to frame.
  steps(pen, labels, place, numbered = false) {
    for (const [label, start, end] of runs(labels)) {
      const [x, y, width, height] = place(start - 0.5, end - 0.5), action = this.explorer.about.actions[label];
      pen.fillStyle = action.colour;
      pen.fillRect(x, y, width, height);
      if (action.hatch) {
        pen.fillStyle = hatching(pen, action.hatch);
        pen.fillRect(x, y, width, height);
      }
      if (numbered && action.number && Math.max(width, height) > 14) {
        if (action.hatch) this.circle(pen, x + width / 2, y + height / 2, 7, action.colour, 1, true);
        const ink = action.dark ? "#fff" : this.colours.ink;
        this.text(pen, action.number, x + width / 2, y + height / 2 + 0.5, {ink, size: 10});
      }
    }
  }
}

// Round numbers from 0 to an end, about so many, with their texts.
function ticks(end, about) {
  const raw = end / Math.max(about, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((value) => value >= raw * 0.999);
  const after = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({length: Math.floor(end / step + 1e-6) + 1}, (_, k) => [k * step, (k * step).toFixed(after)]);
}

// [label, start, end] of each run of equal labels; the end is not a part of it.
function runs(labels) {
  const found = [];
  for (let k = 0; k < labels.length; k++) {
    if (!k || labels[k] !== labels[k - 1]) found.push([labels[k], k, k]);
    found[found.length - 1][2] = k + 1;
  }
  return found;
}

const patterns = {};

// The hatching of matplotlib's name: white lines, crosses or dots.
function hatching(pen, name) {
  if (!patterns[name]) {
    const tile = Object.assign(make("canvas"), {width: 6, height: 6}), brush = tile.getContext("2d");
    [brush.strokeStyle, brush.fillStyle, brush.lineWidth] = ["#fff", "#fff", 1.2];
    brush.beginPath();
    if (name[0] === ".") brush.arc(3, 3, 1.2, 0, 7);
    else for (const shift of [-6, 0, 6]) {
      brush.moveTo(shift, 6);
      brush.lineTo(shift + 6, 0);
      if (name[0] === "x") { brush.moveTo(shift, 0); brush.lineTo(shift + 6, 6); }
    }
    if (name[0] === ".") brush.fill(); else brush.stroke();
    patterns[name] = pen.createPattern(tile, "repeat");
  }
  return patterns[name];
}

// The 256 colours of a map as pixels.
function colourLevels(map) {
  const levels = new Uint8Array(1024).fill(255);
  for (let k = 0; k < 256; k++) levels.set(map.subarray(3 * k, 3 * k + 3), 4 * k);
  return new Uint32Array(levels.buffer);
}

// A matrix of frames of X by frames of Y, with the steps of both along its sides and a colour bar above.
class MatrixPanel extends Panel {
  constructor(explorer, area, title, {map, power = 1}) {
    super(explorer, area, title, {left: 58, right: 10, top: 30, bottom: 48});
    Object.assign(this, {power, n: explorer.about.n, m: explorer.about.m});
    this.image = make("canvas", {width: this.m, height: this.n});
    this.pixels = new ImageData(this.m, this.n);
    this.levels = colourLevels(explorer.arrays[map]);
    this.barred = make("canvas", {width: 256, height: 1});
    this.barred.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(this.levels.buffer), 256, 1), 0, 0);
    this.limits([-0.5, this.m - 0.5], [-0.5, this.n - 0.5]);
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");  // arrow keys are for the cursor
    this.canvas.onpointermove = (event) => this.follow(event);
    this.canvas.onpointerdown = (event) => {
      this.follow(event);
      if (explorer.cursor) explorer.picked(...explorer.cursor);
    };
    this.canvas.onpointerleave = (event) => {
      if (event.pointerType === "mouse") explorer.point(null);  // a finger has to leave
    };
    this.canvas.onblur = () => explorer.point(null);
    this.canvas.onkeydown = (event) => this.key(event);
  }

  // Show values; `top` gets the last colour, and 0 the first.
  set(values, top) {
    const colours = new Uint32Array(this.pixels.data.buffer), {levels, power} = this;
    for (let k = 0; k < values.length; k++) {
      const share = Math.max(0, Math.min(1, values[k] / top));
      colours[k] = levels[Math.round(255 * (power === 0.5 ? Math.sqrt(share) : share))];
    }
    this.image.getContext("2d").putImageData(this.pixels, 0, 0);
    [this.top, this.fresh] = [top, false];
  }

  still(pen) {
    const {left, top, width, height} = this.inner, {arrays} = this.explorer;
    pen.imageSmoothingEnabled = false;
    pen.drawImage(this.image, left, top, width, height);
    const beside = (a, b) => [left - 15, this.py(a), 10, this.py(b) - this.py(a)];
    const below = (a, b) => [this.px(a), top + height + 5, this.px(b) - this.px(a), 10];
    if (arrays.labels_x) this.steps(pen, arrays.labels_x, beside);
    if (arrays.labels_y) this.steps(pen, arrays.labels_y, below);
    this.axes(pen, {xTicks: ticks(this.m - 1, width / 60), yTicks: ticks(this.n - 1, height / 45), gap: 16,
                    xName: "time in Y (frames)", yName: "time in X (frames)"});
    this.bar(pen, left, width);
    const many = Math.max(1, Math.ceil(this.n / 40));  // at most so many true matches are marked
    if (arrays.truth && this.marked) arrays.truth.forEach((j, i) => {
      if (j < 0 || i % many) return;
      this.circle(pen, this.px(j), this.py(i), 3.2, "#fff", 2.4);
      this.circle(pen, this.px(j), this.py(i), 3.2, this.colours.here, 1.2);
    });
  }

  // The colour bar, with its ticks above it.
  bar(pen, left, width) {
    const end = this.top ** this.power;
    pen.drawImage(this.barred, left, 17, width, 6);
    let last = -Infinity;
    for (const [value, words] of ticks(this.top, this.power === 1 ? width / 45 : 4)) {
      const x = left + value ** this.power / end * width;
      this.line(pen, [[x, 14], [x, 17]], this.colours.soft, 0.8);
      if (x - last > 28) this.text(pen, words, x, 8, {size: 10});
      if (x - last > 28) last = x;
    }
  }

  moving(pen) {
    const {cursor, colours} = this.explorer, {left, top, width, height} = this.inner;
    if (!cursor) return;
    const [x, y] = this.place(...cursor);
    this.line(pen, [[left - 15, y], [left + width, y]], colours.here, 1.3);
    this.line(pen, [[x, top], [x, top + height + 15]], colours.accent, 1.3);
  }

  place(i, j) { return [this.px(j), this.py(i)]; }

  follow(event) {
    const box = this.canvas.getBoundingClientRect(), {left, top, width, height} = this.inner;
    const j = Math.floor((event.clientX - box.left - left) / width * this.m);
    const i = Math.floor((event.clientY - box.top - top) / height * this.n);
    this.explorer.point(i >= 0 && i < this.n && j >= 0 && j < this.m ? [i, j] : null, this);
  }

  // Arrow keys move the cursor by a frame, with shift by ten; Enter picks its entry; Escape takes it away.
  key(event) {
    const arrows = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    const [down, across] = arrows[event.key] ?? [0, 0];
    const {explorer} = this, [i, j] = explorer.cursor ?? explorer.start();
    if (event.key === "Escape") explorer.point(null);
    else if (event.key === "Enter" || event.key === " ") explorer.picked(i, j);
    else if (down || across) {
      const by = event.shiftKey ? 10 : 1;
      explorer.point([clamp(i + by * down, 0, this.n - 1), clamp(j + by * across, 0, this.m - 1)], this, true);
    } else return;
    event.preventDefault();
  }
}

// A picture of a sheet of pictures, as large as it fits into a box and in its middle, with a coloured edge.
function picture(pen, sheet, {columns, width, height, every}, frame, [left, top, wide, tall], edge) {
  const zoom = Math.min(wide / width, tall / height), number = Math.floor(frame / every);
  const [w, h] = [width * zoom, height * zoom];
  const [x, y] = [left + (wide - w) / 2, top + (tall - h) / 2];
  pen.imageSmoothingEnabled = zoom < 1;
  const [across, down] = [number % columns * width, Math.floor(number / columns) * height];
  pen.drawImage(sheet, across, down, width, height, x, y, w, h);
  [pen.strokeStyle, pen.lineWidth] = [edge, 3];
  pen.strokeRect(x, y, w, h);
}
