// The length of an action: generated procedures that were measured before, and the curve that the length is read from.
class LengthExplorer extends Explorer {
  panels() {
    this.curve = new CurvePanel(this, "curve", "pairs of frames in one cluster, by the time between them");
  }

  *compute(values) {
    const {about, arrays} = this, {lags} = arrays;
    const steps = (range, step) => Math.round(range / step);
    const at = about.controls.reduce(
      (at, {name, low, high, step}) => at * (1 + steps(high - low, step)) + steps(values[name] - low, step), 0,
    );
    const [found, labelled] = [arrays.found[at], arrays.labelled[at]];
    const of = (name) => Array.from(lags, (_, k) => arrays[name][at * lags.length + k] / 1000);
    const numbers = {found, "by the labels": labelled, ratio: found / labelled, radius: about.radius * found};
    return {numbers, agreement: of("agreement"), fitted: of("fitted")};
  }

  show({numbers, agreement, fitted}) {
    this.tell(numbers);
    this.curve.set(numbers, agreement, fitted);
  }
}

class CurvePanel extends Panel {
  constructor(...given) { super(...given.slice(0, 3), {left: 60, right: 190, top: 10, bottom: 42}); }

  set(numbers, agreement, fitted) {
    Object.assign(this, {numbers, agreement, fitted});
    const {lags} = this.explorer.arrays;
    this.limits([Math.log10(lags[0]), Math.log10(lags[lags.length - 1])], [1.02, -0.3]);
    const [found, labelled] = [digits(numbers.found, 3), digits(numbers["by the labels"], 3)];
    this.summary(`The length found is ${found} of a recording, by the labels it is ${labelled}`);
  }

  still(pen) {
    const narrow = this.width < 560;  // then the key stands above the axes, in two columns
    Object.assign(this.margin, narrow ? {right: 10, top: 66} : {right: 190, top: 10});
    const {lags} = this.explorer.arrays, {ink, soft, accent, other, pale} = this.colours, {left, top, width, height} = this.inner;
    const {found, "by the labels": labels, radius} = this.numbers, x = (share) => this.px(Math.log10(share));
    const upright = (at, colour, dash) => this.line(pen, [[x(at), top], [x(at), top + height]], colour, 2, dash);
    pen.fillStyle = pale;
    pen.fillRect(left, top, clamp(x(radius) - left, 0, width), height);
    this.line(pen, [[left, this.py(0)], [left + width, this.py(0)]], soft, 0.8);
    this.agreement.forEach((value, k) => this.circle(pen, x(lags[k]), this.py(value), 2.8, soft, 1, true));
    this.line(pen, this.fitted.map((value, k) => [x(lags[k]), this.py(value)]), ink, 1.8);
    upright(found, accent);
    upright(labels, other, [6, 4]);
    this.axes(pen, {
      xTicks: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3].map((share) => [Math.log10(share), String(share)]),
      yTicks: [0, 0.25, 0.5, 0.75, 1].map((value) => [value, String(value)]),
      xName: "time between two frames, as a share of the recording", yName: "pairs in one cluster, beyond chance",
    });
    const key = [
      [`the radius, ${radius.toFixed(3)}`, pale, "box"], ["measured", soft, "dot"], ["fitted", ink],
      [`length found, ${found.toFixed(3)}`, accent], [`by the labels, ${labels.toFixed(3)}`, other, "dashes"],
    ];
    key.forEach(([words, colour, sign], k) => {
      const [from, y] = narrow ? [8 + k % 2 * (this.width / 2 - 4), 10 + 18 * (k >> 1)] : [left + width + 14, top + 10 + 20 * k];
      pen.fillStyle = colour;
      if (sign === "box") {
        pen.fillRect(from, y - 6, 22, 12);
        [pen.strokeStyle, pen.lineWidth] = [soft, 0.8];
        pen.strokeRect(from, y - 6, 22, 12);
      }
      if (sign === "dot") this.circle(pen, from + 11, y, 2.8, colour, 1, true);
      if (!sign || sign === "dashes") this.line(pen, [[from, y], [from + 22, y]], colour, 2, sign ? [6, 4] : []);
      this.text(pen, words, from + 30, y, {align: "left", size: 12});
    });
  }
}
