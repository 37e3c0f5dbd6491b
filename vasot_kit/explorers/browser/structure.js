// Structural priors: the plan, its costs and the terms of the objective for the weights of the sliders.
class StructureExplorer extends Explorer {
  panels() {
    const {about, arrays} = this;
    this.appearance = cosineCost(arrays.x, arrays.y, about.dim);
    this.prior = temporalPrior(about.n, about.m);
    [this.p, this.q] = [about.n, about.m].map((size) => new Float64Array(size).fill(1 / size));
    this.plan = new MatrixPanel(this, "plan", "plan: share of a frame of X", {map: "plans", power: 0.5});
    this.cost = new MatrixPanel(this, "cost", "cost with prior, C + \u03c1R", {map: "costs"});
    this.pull = new MatrixPanel(this, "pull", "structure gradient, C\u02e3 T C\u02b8", {map: "costs"});
    this.bars = new TermsPanel(this, "terms", "terms of the objective J, and those of the uniform plan");
    this.plan.marked = true;
    const ring = make("span", {textContent: "\u25cb", style: `color: ${this.colours.here}`});
    if (arrays.truth) this.plan.heading.append("; ", ring, " true match");
  }

  *compute({alpha, radius, rho, epsilon}) {
    const cost = this.appearance.map((value, k) => value + rho * this.prior[k]);
    const problem = new Problem(cost, this.p, this.q, {alpha, radius, epsilon});
    const plan = yield* solve(problem), product = problem.product(plan);
    const [terms, uniform] = [problem.terms(plan, product), problem.terms(problem.uniform())];
    return {plan, cost, product, terms, uniform, match: bestMatches(plan, this.about.n)};
  }

  show({plan, cost, product, terms, uniform, match}) {
    const {n, m, background} = this.about, {labels_x: steps, labels_y: others} = this.arrays;
    Object.assign(this, {shares: plan.map((mass) => mass * n), costs: cost, product});
    const rows = rowSums(this.shares, n), top = largest(this.shares) / largest(rows);
    this.plan.set(this.shares, top);
    const dearest = Math.max(2, largest(cost), largest(product));  // one scale for both: alpha weighs one against the other
    this.cost.set(cost, dearest);
    this.pull.set(product, dearest);
    this.bars.set(terms, uniform);
    const counted = [...steps.keys()].filter((i) => steps[i] !== background);
    const numbers = {
      ...terms,
      "marginal error": Math.max(marginalError(rowSums(plan, n), this.p), marginalError(columnSums(plan, m), this.q)),
      "argmax right": mean(counted.map((i) => steps[i] === others[match[i]])),
      "mean jump": mean(match.slice(1).map((j, i) => Math.abs(j - match[i]))),
      "effective matches": mean(rows.map((_, i) => spread(this.shares.subarray(i * m, (i + 1) * m)))),
    };
    this.tell(numbers);
    this.plan.summary(`Transport plan of ${n} by ${m} frames. The best match of ${percent(numbers["argmax right"])} of the `
      + `frames of X shows the same step and jumps by ${numbers["mean jump"].toFixed(1)} frames. Arrow keys move a cursor.`);
  }

  start() { return [this.about.n >> 1, bestMatches(this.shares, this.about.n)[this.about.n >> 1]]; }

  entry(i, j) {
    const {labels_x: steps, labels_y: others} = this.arrays, k = i * this.about.m + j;
    return [`X: frame ${i}, ${this.step(steps[i])}`, `Y: frame ${j}, ${this.step(others[j])}`,
            `${percent(this.shares[k])} of the frame's mass`,
            `cost ${digits(this.costs[k], 3)}, structure ${digits(this.product[k], 3)}`];
  }
}

class TermsPanel extends Panel {
  constructor(...given) { super(...given.slice(0, 3), {left: 108, right: 14, top: 6, bottom: 34}); }

  set(terms, uniform) {
    Object.assign(this, {terms, uniform});
    const reach = Math.max(...[...Object.values(terms), ...Object.values(uniform)].map(Math.abs));
    // An end that does not change at every step of a slider.
    const end = [0.25, 0.5, 1, 1.5, 2, 3, 4, 6, 8].find((value) => value >= reach) ?? reach;
    this.limits([-end, end], [-0.5, 3.5]);
    const told = Object.entries(terms).map(([name, value]) => `${name} ${value.toFixed(3)}`);
    this.summary(`Terms of the objective: ${told.join(", ")}`);
  }

  still(pen) {
    const {ink, accent, here, soft} = this.colours, tall = this.py(0.3) - this.py(-0.3), after = ticks(this.x[1], 2);
    this.axes(pen, {xName: "cost", xTicks: [...after.slice(1).map(([x, words]) => [-x, `\u2212${words}`]), ...after]});
    this.line(pen, [[this.px(0), this.inner.top], [this.px(0), this.py(3.5)]], soft, 0.8);
    Object.entries(this.terms).forEach(([name, value], k) => {
      pen.fillStyle = name === "J" ? ink : accent;
      pen.fillRect(Math.min(this.px(0), this.px(value)), this.py(k - 0.3), Math.abs(this.px(value) - this.px(0)), tall);
      const mark = this.px(this.uniform[name]);
      this.line(pen, [[mark, this.py(k - 0.4)], [mark, this.py(k + 0.4)]], here, 2.5);
      this.text(pen, name, 52, this.py(k), {align: "right", weight: name === "J" ? "600" : ""});
      this.text(pen, value.toFixed(3).replace("-", "\u2212"), 98, this.py(k), {align: "right"});
    });
    this.line(pen, [[this.inner.left + 8, this.height - 7], [this.inner.left + 8, this.height - 16]], here, 2.5);
    this.text(pen, "uniform plan", this.inner.left + 14, this.height - 11, {align: "left"});
  }
}
