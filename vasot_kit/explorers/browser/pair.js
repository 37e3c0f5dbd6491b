// An alignment: where the mass of one frame of X goes, and both recordings at that moment.
class PairExplorer extends Explorer {
  panels() {
    const {about} = this;
    const title = `${about.x.name} (X) to ${about.y.name} (Y): share of a frame`;
    this.plan = new MatrixPanel(this, "plan", title, {map: "plans", power: 0.5});
    this.row = new RowPanel(this, "row", "");
    this.moments = [new MomentPanel(this, "x", "x"), new MomentPanel(this, "y", "y")];
    this.plan.moving = (pen) => this.mark(pen);
  }

  // What is shown was computed before: all numbers of a frame, and the plan in 256 levels of the root of its shares.
  *compute({frame, plan}) {
    const {arrays, about} = this, which = about.plans.findIndex(({name}) => name === plan);
    const of = (name) => arrays[`${name}_${which}`][frame];
    const match = of("match") < 0 ? null : of("match");  // a flat row has none
    const numbers = {"best match": match ?? (of("kept") ? "none (tie)" : "none"), "its share": of("share"), kept: of("kept")};
    numbers["effective matches"] = of("effective");
    if (arrays.truth) numbers["true match"] = arrays.truth[frame] < 0 ? "none" : arrays.truth[frame];
    if (about.classes) {
      numbers["step of X"] = this.step(arrays.labels_x[frame]);
      numbers["step of Y"] = match === null ? "none" : this.step(arrays.labels_y[match]);
    }
    return {which, frame, numbers, match};
  }

  show({which, frame, numbers, match}) {
    const {about, arrays} = this, {top} = about.plans[which];
    if (which !== this.which) {
      this.shares = Float32Array.from(arrays[`plan_${which}`], (level) => top * (level / 255) ** 2);
      this.plan.set(this.shares, Math.max(...about.plans.map((each) => each.top)));  // a plan that says little is pale
    }
    Object.assign(this, {which, frame, match});
    this.row.set(this.shares.subarray(frame * about.m, (frame + 1) * about.m), frame, match);
    this.moments[0].set(frame);
    this.moments[1].set(match);
    this.tell(numbers);
    this.plan.summary(`Plan of ${about.n} by ${about.m} frames. ${this.row.words} `
      + "Arrow keys move a cursor, Enter chooses its frame of X.");
  }

  mark(pen) {
    const {left, width} = this.plan.inner, [x, y] = this.plan.place(this.frame, this.match ?? 0);
    this.plan.line(pen, [[left - 15, y], [left + width, y]], this.colours.here, 1.5);
    if (this.match !== null) this.plan.circle(pen, x, y, 5, this.colours.accent);
    MatrixPanel.prototype.moving.call(this.plan, pen);
  }

  start() { return [this.frame, this.match ?? this.about.m >> 1]; }

  picked(i) {
    this.stop();
    this.set("frame", i);
  }

  entry(i, j) {
    const {labels_x: steps, labels_y: others} = this.arrays;
    const named = (labels, k) => labels && this.about.classes ? `, ${this.step(labels[k])}` : "";
    return [`X: frame ${i}${named(steps, i)}`, `Y: frame ${j}${named(others, j)}`,
            `${percent(this.shares[i * this.about.m + j])} of the frame's mass`];
  }
}

// The row of a plan: its shares over the time in Y, above the steps of Y.
class RowPanel extends Panel {
  constructor(explorer, area, title) { super(explorer, area, title, {left: 46, right: 10, top: 8, bottom: 48}); }

  set(row, frame, match) {
    Object.assign(this, {row, match});
    const most = largest(row), top = [0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1].find((value) => value >= 1.02 * most) ?? most;
    this.limits([-0.5, row.length - 0.5], [top, 0]);
    this.title(`where frame ${frame} of X goes: its row of the plan`);
    this.words = match === null ? `Frame ${frame} of X ${most ? "goes to all frames of Y alike" : "keeps no mass"}.`
      : `Frame ${frame} of X goes to frame ${match} of Y with ${percent(row[match])} of its mass.`;
    this.summary(this.words);
  }

  still(pen) {
    const {top, height, width} = this.inner, {labels_y: labels} = this.explorer.arrays;
    const points = [...this.row].flatMap((share, j) => [[this.px(j - 0.5), this.py(share)], [this.px(j + 0.5), this.py(share)]]);
    pen.beginPath();
    pen.moveTo(this.px(-0.5), this.py(0));
    for (const [x, y] of points) pen.lineTo(x, y);
    pen.lineTo(this.px(this.row.length - 0.5), this.py(0));
    pen.fillStyle = this.colours.pale;
    pen.fill();
    this.line(pen, points, this.colours.ink);
    if (this.match !== null) this.circle(pen, this.px(this.match), this.py(this.row[this.match]), 4, this.colours.accent, 1, true);
    if (labels) this.steps(pen, labels, (a, b) => [this.px(a), top + height + 3, this.px(b) - this.px(a), 12], true);
    this.axes(pen, {xTicks: ticks(this.row.length - 1, width / 60), xName: "time in Y (frames)", gap: 16});
    this.axes(pen, {yTicks: ticks(this.y[0], 3), yName: "share"});
  }

  moving(pen) {
    const {cursor, colours} = this.explorer, {top, height} = this.inner;
    if (!cursor && this.match === null) return;
    const x = this.px(cursor ? cursor[1] : this.match);
    this.line(pen, [[x, top], [x, top + height + 16]], colours.accent, 1.5);
  }
}

// One recording at one moment: its picture, or its features around that time.
class MomentPanel extends Panel {
  constructor(explorer, area, side) {
    super(explorer, area, "", {left: 22, right: 10, top: 4, bottom: 34});
    Object.assign(this, {side, pictures: explorer.about[side].pictures, traces: explorer.arrays[`traces_${side}`]});
    this.size = explorer.about[side === "x" ? "n" : "m"];
    this.colour = side === "x" ? this.colours.here : this.colours.accent;
    this.heading.style.color = this.colour;
    this.sheet = this.pictures && this.sheetOf(this.pictures);
  }

  set(frame) {
    this.frame = frame;
    this.fresh = false;
    this.title(`${this.side.toUpperCase()}: ${frame === null ? "no best match" : `frame ${frame}`}`);
    this.summary(frame === null ? `No best match in ${this.side.toUpperCase()}` : `${this.pictures ? "Picture" : "Features"} of ${this.side.toUpperCase()} at frame ${frame}`);
  }

  still(pen) {
    if (this.frame === null) return;
    if (this.pictures) {
      const box = [3, 3, this.width - 6, this.height - 6];
      if (this.sheet.complete) picture(pen, this.sheet, this.pictures, this.frame, box, this.colour);
      return;
    }
    const reach = Math.max(20, Math.floor(this.size / 8)), {frame, size} = this, many = this.traces.length / size;
    this.limits([frame - reach, frame + reach], [many - 0.2, -0.8]);
    this.fresh = true;
    const {left, top, width, height} = this.inner;
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    for (let k = 0; k < many; k++) {
      const points = [];
      const [first, last] = [Math.max(0, frame - reach - 1), Math.min(size - 1, frame + reach + 1)];
      for (let i = first; i <= last; i++) points.push([this.px(i), this.py(k - this.traces[i * many + k])]);
      this.line(pen, points, this.colours.ink, 1);
    }
    this.line(pen, [[this.px(frame), top], [this.px(frame), top + height]], this.colour, 2);
    pen.restore();
    const marks = ticks(this.size - 1, this.size / reach).filter(([i]) => Math.abs(i - frame) < reach);
    this.axes(pen, {xTicks: marks, xName: "time (frames)", yName: `${many} of ${this.explorer.about.dim} features`});
  }
}
