"use strict";
// The fused Gromov-Wasserstein problem of two recordings with fixed masses, solved as vasot_lib.transport solves it: the
// same terms, the scheme "sinkhorn", the same finishing sweeps. Matrices are stored row by row.

// As in reference.py.
const [FIRST_WEIGHT, MOST_WEIGHT, SHORT, SWEEPS_BETWEEN_CHECKS] = [1.7, 1.95, 1, 10];

// C_ij = 1 - cos(x_i, y_j), from n and m rows of `dim` features.
function cosineCost(x, y, dim) {
  const [from, to] = [unitRows(x, dim), unitRows(y, dim)], n = x.length / dim, m = y.length / dim;
  const cost = new Float64Array(n * m);
  for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) {
    let product = 0;
    for (let k = 0; k < dim; k++) product += from[i * dim + k] * to[j * dim + k];
    cost[i * m + j] = 1 - product;
  }
  return cost;
}

function unitRows(x, dim) {
  const unit = Float64Array.from(x);
  for (let start = 0; start < unit.length; start += dim) {
    const row = unit.subarray(start, start + dim);
    let square = 0;
    for (const value of row) square += value * value;
    const length = Math.max(Math.sqrt(square), 1e-12);
    for (let k = 0; k < dim; k++) row[k] /= length;
  }
  return unit;
}

// R_ij = |i / n - j / m|.
function temporalPrior(n, m) {
  return Float64Array.from({length: n * m}, (_, k) => Math.abs(Math.floor(k / m) / n - k % m / m));
}

// A row and a column of cost zeta before the others.
function withDummy(cost, n, m, zeta) {
  const wider = new Float64Array((n + 1) * (m + 1)).fill(zeta);
  for (let i = 0; i < n; i++) wider.set(cost.subarray(i * m, (i + 1) * m), (i + 1) * (m + 1) + 1);
  return wider;
}

class Problem {
  // `p` and `q` are the masses of rows and columns; the first `free` rows and columns have no structure.
  constructor(cost, p, q, {alpha, radius, epsilon, free = 0}) {
    Object.assign(this, {cost, p, q, alpha, radius, epsilon, free});
    [this.n, this.m] = [p.length, q.length];
    [this.far, this.near] = [new Float64Array(this.n * this.m), new Float64Array(this.m)];  // what product() works in
    [this.windowX, this.windowY] = [this.n, this.m].map((size) => Math.floor((size - free) * radius + 1e-9));
  }

  // Cx T Cy with Near for the rows and Far for the columns, by running sums of the windows.
  product(plan, result = new Float64Array(plan.length)) {
    const {n, m, free, windowX, windowY, radius, far, near: within} = this;
    for (let i = free; i < n; i++) {
      const row = i * m;
      let sum = 0, near = 0;
      for (let j = free; j < m; j++) sum += plan[row + j];
      for (let j = free; j < Math.min(free + windowY, m); j++) near += plan[row + j];
      for (let j = free; j < m; j++) {
        if (j + windowY < m) near += plan[row + j + windowY];
        far[row + j] = sum - near + plan[row + j];
        if (j - windowY >= free) near -= plan[row + j - windowY];
      }
    }
    const add = (i, sign) => { for (let j = free; j < m; j++) within[j] += sign * far[i * m + j]; };
    within.fill(0);
    for (let i = free; i < Math.min(free + windowX, n); i++) add(i, 1);
    for (let i = free; i < n; i++) {
      if (i + windowX < n) add(i + windowX, 1);
      for (let j = free; j < m; j++) result[i * m + j] = (within[j] - far[i * m + j]) / radius;
      if (i - windowX >= free) add(i - windowX, -1);
    }
    return result;
  }

  // The terms of the objective J, with their weights and signs; their sum is J.
  terms(plan, product = this.product(plan)) {
    let [linear, structure, entropy] = [0, 0, 0];
    for (let k = 0; k < plan.length; k++) {
      linear += this.cost[k] * plan[k];
      structure += product[k] * plan[k];
      entropy += plan[k] > 0 ? plan[k] * Math.log(plan[k]) - plan[k] : 0;
    }
    [linear, structure, entropy] = [(1 - this.alpha) * linear, this.alpha / 2 * structure, this.epsilon * entropy];
    return {linear, structure, entropy, J: linear + structure + entropy};
  }

  uniform() {
    const {n, m, p, q} = this, plan = new Float64Array(n * m);
    for (let i = 0, at = 0; i < n; i++) for (let j = 0; j < m; j++, at++) plan[at] = p[i] * q[j];
    return plan;
  }
}

// Solves a problem whose masses are all positive, and returns the plan. It is a generator, so that a page can draw
// between two iterations.
function* solve(problem, {iterations = 25, sweeps = 1, finish = true, tolerance = 1e-3} = {}) {
  const {n, m, p, q, alpha, epsilon, cost} = problem, plan = problem.uniform(), logPlan = plan.map(Math.log);
  const kernel = new Float64Array(n * m), a = new Float64Array(n), b = new Float64Array(m), v = new Float64Array(m);
  const sums = new Float64Array(m), product = new Float64Array(n * m);
  for (let k = 0; k < iterations; k++) {
    if (alpha) problem.product(plan, product);
    const [ofCost, ofProduct] = [(1 - alpha) / (2 * epsilon), alpha / (2 * epsilon)];
    for (let i = 0, at = 0; i < n; i++) {
      let top = -Infinity;
      for (let j = 0; j < m; j++, at++) {
        logPlan[at] = v[j] + logPlan[at] / 2 - ofCost * cost[at] - ofProduct * product[at];
        if (logPlan[at] > top) top = logPlan[at];
      }
      for (at -= m; at < (i + 1) * m; at++) kernel[at] = Math.exp(logPlan[at] -= top);
    }
    b.fill(1);
    for (let s = 0; s < sweeps; s++) {
      scaleRows(kernel, p, b, a, sums);
      for (let j = 0; j < m; j++) b[j] = q[j] / sums[j];
    }
    const [logA, logB] = [a.map(Math.log), b.map(Math.log)];
    for (let i = 0, at = 0; i < n; i++) for (let j = 0; j < m; j++, at++) {
      logPlan[at] += logA[i] + logB[j];
      plan[at] = kernel[at] * a[i] * b[j];
    }
    for (let j = 0; j < m; j++) v[j] += logB[j];
    yield;
  }
  return finish ? yield* project(plan, p, q, tolerance) : plan;
}

// Over-relaxed sweeps on a plan until its columns have their masses to half the tolerance, at most 1000; the rows have
// them exactly.
function* project(plan, p, q, tolerance) {
  const [n, m] = [p.length, q.length], a = new Float64Array(n), b = new Float64Array(m).fill(1), sums = new Float64Array(m);
  let [weight, before] = [FIRST_WEIGHT, Infinity];
  for (let round = 0; round < 100; round++) {
    scaleRows(plan, p, b, a, sums);
    let error = 0;
    for (let j = 0; j < m; j++) error = Math.max(error, Math.abs(b[j] * sums[j] - q[j]) / q[j]);
    if (error <= tolerance / 2) break;
    [weight, before] = [nextWeight(weight, error / before), error];
    for (let s = 0; s < SWEEPS_BETWEEN_CHECKS; s++) {
      for (let j = 0; j < m; j++) b[j] = lengthened(b[j], q[j] / sums[j], weight);
      scaleRows(plan, p, b, a, sums, s ? weight : 1);
    }
    yield;
  }
  scaleRows(plan, p, b, a, sums);
  return plan.map((value, k) => a[Math.floor(k / m)] * value * b[k % m]);
}

// As next_weight of the library: the best weight, from the share of the error that the last sweeps have left.
function nextWeight(weight, shrunk) {
  if (shrunk >= 1) return 1;
  const left = shrunk ** (1 / SWEEPS_BETWEEN_CHECKS);
  if (left <= weight - 1) return weight;
  const plain = (left + weight - 1) ** 2 / (left * weight ** 2);
  return Math.min(2 / (1 + Math.sqrt(Math.max(1 - plain, 0))), MOST_WEIGHT);
}

// old (target / old)^weight where the two are near each other, otherwise target.
function lengthened(old, target, weight) {
  if (weight === 1) return target;
  const step = Math.log(target / old);
  return Math.abs(step) < SHORT ? target * Math.exp((weight - 1) * step) : target;
}

// Scales the rows, a_i = p_i / sum_j kernel_ij b_j, lengthened by a weight, and sums up the columns, sums_j = sum_i a_i kernel_ij. Four rows at a
// time, which takes half as long as one by one.
function scaleRows(kernel, p, b, a, sums, weight = 1) {
  const [n, m] = [a.length, b.length], whole = n - n % 4;
  sums.fill(0);
  for (let i = 0; i < whole; i += 4) {
    const [first, second, third, fourth] = [i * m, (i + 1) * m, (i + 2) * m, (i + 3) * m];
    let [s, t, u, v] = [0, 0, 0, 0];
    for (let j = 0; j < m; j++) {
      const weight = b[j];
      s += kernel[first + j] * weight;
      t += kernel[second + j] * weight;
      u += kernel[third + j] * weight;
      v += kernel[fourth + j] * weight;
    }
    [s, t, u, v] = [s, t, u, v].map((sum, k) => a[i + k] = lengthened(a[i + k], p[i + k] / sum, weight));
    for (let j = 0; j < m; j++) {
      sums[j] += s * kernel[first + j] + t * kernel[second + j] + u * kernel[third + j] + v * kernel[fourth + j];
    }
  }
  for (let i = whole; i < n; i++) {
    let sum = 0;
    for (let j = 0; j < m; j++) sum += kernel[i * m + j] * b[j];
    a[i] = lengthened(a[i], p[i] / sum, weight);
    for (let j = 0; j < m; j++) sums[j] += a[i] * kernel[i * m + j];
  }
}
