// Numbers that explorers show of a plan.
const mean = (values) => values.reduce((sum, value) => sum + Number(value), 0) / values.length;
const largest = (values) => values.reduce((top, value) => Math.max(top, value), 1e-30);
const marginalError = (sums, masses) => largest(sums.map((sum, k) => Math.abs(sum - masses[k]) / masses[k]));

// The column of the largest entry of each row, the first of equal ones.
function bestMatches(matrix, n) {
  const m = matrix.length / n;
  return Array.from({length: n}, (_, i) => {
    let best = 0;
    for (let j = 1; j < m; j++) if (matrix[i * m + j] > matrix[i * m + best]) best = j;
    return best;
  });
}

function rowSums(matrix, n) {
  const m = matrix.length / n;
  return Array.from({length: n}, (_, i) => matrix.subarray(i * m, (i + 1) * m).reduce((sum, value) => sum + value, 0));
}

function columnSums(matrix, m) {
  const sums = new Array(m).fill(0);
  matrix.forEach((value, k) => { sums[k % m] += value; });
  return sums;
}

// exp of the entropy of a row: 1 for a hard match, the number of columns for a uniform one.
function spread(row) {
  const kept = row.reduce((sum, value) => sum + value, 0);
  return Math.exp(-row.reduce((sum, value) => sum + (value > 0 ? value / kept * Math.log(value / kept) : 0), 0));
}

// The mean precision at the places of the frames without a partner, in the order of what frames keep, least first.
function averagePrecision(kept, lost) {
  const order = [...kept.keys()].sort((i, k) => kept[i] - kept[k]), many = lost.reduce((sum, value) => sum + value, 0);
  let [hits, before, area] = [0, 0, 0];
  order.forEach((i, place) => {
    hits += lost[i];
    if (place + 1 < order.length && kept[order[place + 1]] === kept[i]) return;  // equal shares are of one place
    area += (hits - before) / many * hits / (place + 1);
    before = hits;
  });
  return area;
}
