// Dummy frames: what is left for the loss, what each frame keeps, the four parts of the mass, and the dropped frames.
class DummyExplorer extends Explorer {
  panels() {
    const {about, arrays} = this, prior = temporalPrior(about.n, about.m);
    this.cost = cosineCost(arrays.x, arrays.y, about.dim).map((value, k) => value + about.rho * prior[k]);
    this.plan = new MatrixPanel(this, "plan", "left for the loss: share of a frame of X", {map: "plans", power: 0.5});
    this.keeps = new KeptPanel(this, "kept", "what a frame keeps");
    this.masses = new MassesPanel(this, "masses", "where the mass lies");
    this.dropped = new DroppedPanel(this, "dropped", "");
  }

  *compute({zeta, dummy_mass: share, handling}) {
    const {n, m, recipe} = this.about;
    const masses = (frames) => Float64Array.from({length: frames + 1}, (_, k) => k ? (1 - share) / frames : share);
    const [p, q] = [masses(n), masses(m)];
    const plan = yield* solve(new Problem(withDummy(this.cost, n, m, zeta), p, q, recipe), recipe);
    const targets = new Float64Array(n * m);
    for (let i = 0; i < n; i++) {
      const row = plan.subarray((i + 1) * (m + 1) + 1, (i + 2) * (m + 1));
      if (handling === "soft" || largest(row) / p[1] >= zeta) targets.set(row.map((mass) => mass / p[1]), i * m);
    }
    return {plan, targets};
  }

  show({plan, targets}) {
    const {n, m} = this.about, {lost} = this.arrays;
    const kept = rowSums(targets, n), dropped = kept.map((share) => share < 0.5);
    Object.assign(this, {targets, kept});
    this.plan.set(targets, largest(targets) / largest(kept));
    this.keeps.set(kept);
    const sum = (values) => values.reduce((total, value) => total + value, 0);
    const column = sum(kept.map((_, i) => plan[(i + 1) * (m + 1)])), row = sum([...plan.subarray(1, m + 1)]), corner = plan[0];
    this.masses.set([[1 - column - row - corner, column], [row, corner]]);
    this.dropped.set(kept);
    const [many, without] = [sum(dropped.map(Number)), sum([...lost])];
    const hits = sum(dropped.map((drop, i) => drop && lost[i] ? 1 : 0));
    this.tell({
      "dummy column": column, corner, "cap of one frame": 1 / (m + 1), "frames dropped": many, "without partner": without,
      precision: many ? hits / many : "undefined", recall: without ? hits / without : "undefined",
      "average precision": without ? averagePrecision(kept, lost) : "undefined",
    });
    this.plan.summary(`Shares of ${n} by ${m} frames without the dummy. ${many} frames of X are dropped, ${hits} of them have no `
      + "partner in truth. Arrow keys move a cursor.");
  }

  start() { return [this.about.n >> 1, this.about.m >> 1]; }

  entry(i, j) {
    const {labels_x: steps, labels_y: others} = this.arrays;
    return [`X: frame ${i}, ${this.step(steps[i])}`, `Y: frame ${j}, ${this.step(others[j])}`,
            `${percent(this.targets[i * this.about.m + j])} of the frame's mass`, `it keeps ${percent(this.kept[i])}`];
  }
}

class KeptPanel extends Panel {
  constructor(...given) { super(...given.slice(0, 3), {left: 12, right: 10, top: 30, bottom: 48}); }

  set(kept) {
    this.kept = kept;
    this.limits([0, 1.05], [-0.5, kept.length - 0.5]);
    this.summary(`What each frame of X keeps on frames of Y: ${kept.filter((share) => share < 0.5).length} keep less than half`);
  }

  still(pen) {
    const {left, top, width, height} = this.inner, {here, accent, pale, soft} = this.colours;
    for (const [flag, start, end] of runs(this.explorer.arrays.lost)) if (flag) {
      pen.fillStyle = pale;
      pen.fillRect(left, this.py(start - 0.5), width, this.py(end - 0.5) - this.py(start - 0.5));
    }
    this.kept.forEach((share, i) => {
      pen.fillStyle = share < 0.5 ? here : accent;
      pen.fillRect(left, this.py(i - 0.5), this.px(share) - left, this.py(i + 0.5) - this.py(i - 0.5) + 0.3);
    });
    this.line(pen, [[this.px(0.5), top], [this.px(0.5), top + height]], this.colours.ink, 1, [2, 2]);
    this.axes(pen, {xTicks: [[0, "0"], [0.5, "½"], [1, "1"]], xName: "share of its mass"});
    const key = [["no partner in truth", pale], ["dropped", here]];
    key.forEach(([words, colour], k) => {
      const [x, y] = width > 200 ? [left + k * 0.62 * width, 14] : [left, 6 + 13 * k];
      pen.fillStyle = colour;
      pen.fillRect(x, y - 4, 9, 9);
      this.text(pen, words, x + 13, y + 1, {align: "left", size: 10, ink: soft});
    });
  }

  moving(pen) {
    const {cursor, colours} = this.explorer;
    const {left, width} = this.inner;
    if (cursor) this.line(pen, [[left, this.py(cursor[0])], [left + width, this.py(cursor[0])]], colours.here, 1.3);
  }
}

class MassesPanel extends Panel {
  constructor(...given) { super(...given.slice(0, 3), {left: 4, right: 4, top: 30, bottom: 48}); }

  set(masses) {
    this.masses = masses;
    this.limits([0, 2], [0, 2]);
    const [[real, away], [back, corner]] = masses.map((row) => row.map((mass) => digits(mass)));
    this.summary(`X to Y ${real}, X to dummy ${away}, dummy to Y ${back}, corner ${corner}`);
  }

  still(pen) {
    const names = [["X to Y", "X to dummy"], ["dummy to Y", "corner"]], map = this.explorer.arrays.plans;
    this.masses.forEach((row, i) => row.forEach((mass, j) => {
      const at = 3 * Math.round(255 * Math.sqrt(clamp(mass, 0, 1))), [x, y] = [this.px(j), this.py(i)];
      const [wide, tall] = [this.px(j + 1) - x, this.py(i + 1) - y], ink = mass > 0.2 ? "#fff" : this.colours.ink;
      pen.fillStyle = `rgb(${map[at]}, ${map[at + 1]}, ${map[at + 2]})`;
      pen.fillRect(x + 1, y + 1, wide - 2, tall - 2);
      [pen.strokeStyle, pen.lineWidth] = [this.colours.pale, 1];
      pen.strokeRect(x + 1, y + 1, wide - 2, tall - 2);
      this.text(pen, names[i][j], x + wide / 2, y + tall / 2 - 9, {ink});
      this.text(pen, Math.max(0, mass).toFixed(3), x + wide / 2, y + tall / 2 + 9, {ink, size: 14, weight: "600"});
    }));
  }
}

// Pictures of dropped frames, from least to most kept; where there are none, the share of dropped frames of each step.
class DroppedPanel extends Panel {
  constructor(explorer, area, title) {
    super(explorer, area, title, {left: 46, right: 10, top: 6, bottom: 30});
    this.pictures = explorer.about.x.pictures;
    this.sheet = this.pictures && this.sheetOf(this.pictures);
  }

  set(kept) {
    const order = [...kept.keys()].filter((i) => kept[i] < 0.5).sort((i, k) => kept[i] - kept[k] || i - k);
    Object.assign(this, {kept, order});
    const many = Object.keys(this.shares()).length;
    this.limits([-0.5, many - 0.5], [1, 0]);
    const words = `dropped: ${order.length} of ${kept.length} frames of X, from least to most kept (frame: share)`;
    this.title(this.pictures ? words : "share of the frames of each step that were dropped");
    this.summary(`Dropped frames of X: ${order.length} of ${kept.length}`);
  }

  // Step of X -> share of its frames that were dropped.
  shares() {
    const labels = this.explorer.arrays.labels_x, steps = [...new Set(labels)].sort((a, b) => a - b);
    const of = (step) => [...labels.keys()].filter((i) => labels[i] === step);
    return steps.map((step) => [step, mean(of(step).map((i) => this.kept[i] < 0.5))]);
  }

  still(pen) {
    const {about, arrays} = this.explorer;
    if (!this.pictures) {
      this.shares().forEach(([step, share], k) => {
        pen.fillStyle = about.actions[step].colour;
        pen.fillRect(this.px(k - 0.35), this.py(share), this.px(k + 0.35) - this.px(k - 0.35), this.py(0) - this.py(share));
      });
      const names = this.shares().map(([step], k) => [k, about.actions[step].name]);
      this.axes(pen, {xTicks: names, yTicks: [[0, "0"], [1, "1"]]});
      return;
    }
    const tall = this.height - 20, wide = Math.max(tall * this.pictures.width / this.pictures.height, 58);
    const many = Math.min(Math.max(1, Math.floor(this.width / (wide + 8))), this.order.length);
    for (let k = 0; k < many && this.sheet.complete; k++) {
      const frame = this.order[many > 1 ? Math.round(k * (this.order.length - 1) / (many - 1)) : 0], x = 4 + k * (wide + 8);
      const edge = about.actions[arrays.labels_x[frame]].colour;
      picture(pen, this.sheet, this.pictures, frame, [x, 2, wide, tall - 4], edge);
      this.text(pen, `${frame}: ${this.kept[frame].toFixed(2)}`, x + wide / 2, this.height - 8);
    }
  }
}
