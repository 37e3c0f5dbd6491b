// The frame of all explorers: controls, panels on canvases, numbers. It computes in the browser, with or without a kernel.
const BUDGET = 12;  // milliseconds of computing between two pictures, so that there are 30 of them in a second
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";

function make(kind, properties = {}, ...children) {
  const node = Object.assign(document.createElement(kind), properties);
  node.append(...children);
  return node;
}

// A number with so many digits, anything else as it is.
function digits(value, many = 4) {
  if (typeof value !== "number" || !Number.isFinite(value)) return String(value);
  return value && Math.abs(value) < 1e-4 ? value.toExponential(many - 1) : String(Number(value.toPrecision(many)));
}

// A share as per cent, with one digit after the point.
const percent = (share) => share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;

// Arrays from their compressed bytes.
async function unpack(packed) {
  const arrays = {};
  await Promise.all(Object.entries(packed).map(async ([name, [type, text]]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    arrays[name] = new globalThis[type](await new Response(stream).arrayBuffer());
  }));
  return arrays;
}

class Explorer {
  // A subclass says in `panels()` what is shown where, computes in the generator `compute(values)`, which yields so that
  // pictures can be drawn meanwhile, and hands the result to `show(result)`.
  constructor(host, about, arrays) {
    Object.assign(this, {host, about, arrays, colours: about.colours, cursor: null, playing: null, work: null});
    this.values = Object.fromEntries(about.controls.map((control) => [control.name, control.value]));
    this.box = make("div", {className: `explorer ${about.kind}`});
    this.stage = make("div", {className: "panels"});
    this.tip = make("div", {className: "tip", hidden: true});
    this.spoken = make("div", {className: "spoken"});
    this.spoken.setAttribute("aria-live", "polite");
    this.told = make("dl", {className: "numbers"});
    this.inputs = {};
    const controls = make("div", {className: "controls"}, ...about.controls.map((control) => this.control(control)));
    const reset = make("button", {type: "button", className: "reset", textContent: "reset", onclick: () => this.reset()});
    reset.title = "All controls as at the start";
    this.box.append(controls, this.stage, this.tip, this.spoken, make("div", {className: "below"}, this.told, reset));
    this.panels();
    this.changed();
  }

  // Take the place of the still picture, once there is something to show; the page's styles end here.
  appear() {
    this.host.attachShadow({mode: "open"}).append(make("style", {textContent: this.about.style}), this.box);
    this.ready = true;
  }

  control(control) {
    return control.options ? this.choice(control) : this.slider(control);
  }

  slider({name, label, low, high, step, value}) {
    const after = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)), id = `slider-${name}`;
    const input = make("input", {type: "range", id, min: low, max: high, step, value});
    const output = make("output");
    const play = make("button", {type: "button", className: "play", onclick: () => this.toggle(name)});
    output.setAttribute("for", id);
    input.oninput = () => { this.stop(); this.set(name, Number(input.value)); };
    this.inputs[name] = {low, high, play, read: (value) => { input.value = value; output.value = value.toFixed(after); }};
    this.inputs[name].read(value);
    this.label(name, false);
    return make("div", {className: "control"}, play, make("label", {htmlFor: id, textContent: label}), input, output);
  }

  choice({name, label, options, value}) {
    const group = make("fieldset", {className: "control"}, make("legend", {textContent: label}));
    const buttons = options.map((option) => {
      const input = make("input", {type: "radio", name, value: option, checked: option === value});
      input.onchange = () => this.set(name, option);
      group.append(make("label", {}, input, make("span", {textContent: option})));
      return input;
    });
    this.inputs[name] = {read: (value) => buttons.forEach((button) => { button.checked = button.value === value; })};
    group.hidden = options.length < 2;
    return group;
  }

  set(name, value) {
    this.inputs[name].read(value);
    if (value === this.values[name]) return;
    this.values[name] = value;
    this.changed();
  }

  reset() {
    this.stop();
    for (const {name, value} of this.about.controls) this.set(name, value);
  }

  // A slider plays from where it is to its end, from the beginning if it is there.
  toggle(name) {
    const again = this.playing?.name !== name;
    this.stop();
    if (!again) return;
    const {low, high} = this.inputs[name], value = this.values[name];
    this.playing = {name, value: value >= high ? low : value, before: performance.now()};
    this.label(name, true);
    this.ask();
  }

  stop() {
    if (this.playing) this.label(this.playing.name, false);
    this.playing = null;
  }

  label(name, plays) {
    const {play} = this.inputs[name], said = this.about.controls.find((control) => control.name === name).label;
    const sign = plays ? "M7 5h4v14H7zM13 5h4v14h-4z" : "M8 5v14l11-7z";
    play.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${sign}"/></svg>`;
    play.setAttribute("aria-label", plays ? "Pause" : `Play ${said}`);
    play.title = plays ? "Pause" : `Move ${said} to its end`;
  }

  advance(now) {
    const {name, before} = this.playing, {low, high} = this.inputs[name];
    const {step, seconds} = this.about.controls.find((control) => control.name === name);
    this.playing.value = Math.min(high, this.playing.value + (high - low) * Math.max(0, now - before) / 1000 / seconds);
    this.playing.before = now;
    this.set(name, Number((low + Math.round((this.playing.value - low) / step) * step).toFixed(9)));
    if (this.playing.value >= high || !this.host.isConnected) this.stop();
  }

  // A value has changed: what belongs to the last values is computed as soon as the computation under way has ended.
  changed() {
    this.stale = true;
    this.ask();
  }

  ask() {
    this.asked ||= requestAnimationFrame((now) => { this.asked = 0; this.tick(now); });
  }

  tick(now) {
    const end = performance.now() + BUDGET;
    if (this.playing) this.advance(now);
    if (!this.work && this.stale) {
      this.stale = false;
      this.spent = 0;
      this.work = this.compute({...this.values});
    }
    if (this.work) {
      const began = performance.now();
      let step;
      do step = this.work.next(); while (!step.done && performance.now() < end);
      this.spent += performance.now() - began;
      if (step.done) {
        this.work = null;
        this.show(step.value);
        if (!this.ready) this.appear();
        this.point(this.cursor, this.pointed);  // what is said of the entry has changed
        this.host.dataset.shown = JSON.stringify(this.values);
        this.host.dataset.computed = this.spent.toFixed(1);  // milliseconds
      }
    }
    if (this.ready) for (const panel of this.all) panel.draw();
    this.host.dataset.pictures = Number(this.host.dataset.pictures ?? 0) + 1;
    if (this.work || this.stale || this.playing) this.ask();
  }

  // The numbers below the panels: name -> number or text.
  tell(numbers) {
    if (this.told.childElementCount !== Object.keys(numbers).length) {
      const places = Object.keys(numbers).map((name) => make("div", {}, make("dt", {textContent: name}), make("dd")));
      places.forEach((place) => { place.lastChild.dataset.name = place.firstChild.textContent; });
      this.told.replaceChildren(...places);
    }
    Object.values(numbers).forEach((value, k) => { this.told.children[k].lastChild.textContent = digits(value); });
  }

  // Mark the entry (i, j) of all matrices and say what it is; null takes the marks away.
  point(cursor, panel, spoken = false) {
    if (!this.ready) return;
    [this.cursor, this.pointed] = [cursor, panel];
    this.tip.hidden = !cursor;
    if (cursor) {
      const lines = this.entry(...cursor);
      this.tip.replaceChildren(...lines.map((line) => make("div", {textContent: line})));
      const [x, y] = panel.place(...cursor), wide = this.tip.offsetWidth;
      const [box, canvas] = [this.box.getBoundingClientRect(), panel.canvas.getBoundingClientRect()];
      const [left, top] = [canvas.left - box.left + x, canvas.top - box.top + y];
      this.tip.style.left = `${Math.max(0, left + 14 + wide > box.width ? left - 14 - wide : left + 14)}px`;
      this.tip.style.top = `${Math.max(0, top - 14 - this.tip.offsetHeight)}px`;
      if (spoken) this.spoken.textContent = lines.join(", ");
    }
    this.ask();
  }

  picked() {}

  // "step 3", or the name of the class where names are known.
  step(label) {
    return label < 0 ? "" : this.about.actions[label].name;
  }
}
