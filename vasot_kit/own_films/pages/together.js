// All films on the clock of the reference: what each shows at its moments, and how sure that is.
const LINE = {tall: 44, band: 12, gap: 26, side: 8, bottom: 22};
const lineTop = (k) => 18 + k * (LINE.tall + LINE.band + LINE.gap);
const together = new Drawing(element("together"), (pen, width, height) => {
  const end = reels[0].end, place = (time) => LINE.side + time / end * (width - 2 * LINE.side);
  const until = (i) => i + 1 < reels[0].length ? reels[0].times[i + 1] : end;
  reels.forEach((reel, k) => {
    const top = lineTop(k), found = k && data.pairs[k - 1];
    text(pen, reel.name, LINE.side, top - 5, {ink: "ink", weight: "600", room: width - 2 * LINE.side, tail: k ? "" : ", the reference"});
    drawTiles(pen, reel, found, place, top);
    if (!found) return;
    const low = top + LINE.tall + LINE.band;
    pen.fillStyle = colour("tint");
    pen.fillRect(place(0), low - LINE.band + 2, place(end) - place(0), LINE.band - 2);
    pen.fillStyle = colour("good");
    pen.globalAlpha = 0.75;
    found.confidence.forEach((sure, i) => {
      const high = (LINE.band - 2) * (sure ?? 0), left = place(reels[0].times[i]);
      pen.fillRect(left, low - high, place(until(i)) - left + 0.5, high);
    });
    pen.globalAlpha = 1;
  });
  timeTicks(pen, end, place, height - 6, width, " s");
}, (pen, width) => {
  const first = where(0);
  if (first < 0) return;
  const x = LINE.side + reels[0].times[first] / reels[0].end * (width - 2 * LINE.side);
  pen.strokeStyle = colour("bad");
  pen.lineWidth = 2;
  reels.forEach((reel, k) => {
    pen.beginPath();
    pen.moveTo(x, lineTop(k));
    pen.lineTo(x, lineTop(k) + LINE.tall + (k ? LINE.band : 0));
    pen.stroke();
  });
});

// Pictures side by side, each of the moment in its middle, paler the less sure it is; none where there is no partner.
function drawTiles(pen, reel, found, place, top) {
  const partner = found && found.partner;
  const [left, right] = [place(0), place(reels[0].end)], wide = clamp(LINE.tall * reel.aspect, 0.6 * LINE.tall, 2 * LINE.tall);
  const zoom = Math.max(wide / reel.width, LINE.tall / reel.height), [w, h] = [wide / zoom, LINE.tall / zoom];
  pen.save();
  pen.beginPath();
  pen.roundRect(left, top, right - left, LINE.tall, 4);
  pen.fillStyle = colour("void");
  pen.fill();
  pen.clip();
  for (let x = left; reel.pictures.length && x < right; x += wide) {
    const first = reels[0].sample((x + Math.min(wide, right - x) / 2 - left) / (right - left) * reels[0].end);
    const at = partner ? partner[first] : first;
    if (at < 0) continue;
    const image = reel.loaded(at, () => together.later());
    if (image) {
      pen.globalAlpha = found ? 0.35 + 0.65 * (found.confidence[first] ?? 0) : 1;
      pen.drawImage(image, (reel.width - w) / 2, (reel.height - h) / 2, w, h, x, top, wide, LINE.tall);
    }
  }
  pen.globalAlpha = 1;
  if (partner) {  // a tile may reach beyond the moments that have a partner
    pen.fillStyle = colour("void");
    partner.forEach((at, i) => {
      const [a, b] = [place(reels[0].times[i]), place(i + 1 < partner.length ? reels[0].times[i + 1] : reels[0].end)];
      if (at < 0) pen.fillRect(a, top, b - a + 0.5, LINE.tall);
    });
  }
  pen.restore();
}

element("together").onclick = (event) => {
  const time = (event.offsetX - LINE.side) / (together.width - 2 * LINE.side) * reels[0].end;
  clock.stop();
  const k = data.films.findIndex((film, number) => event.offsetY < lineTop(number) + LINE.tall + LINE.band + 6);
  if (k > 0) choosePair(k - 1);
  seek(reels[0].sample(clamp(time, 0, reels[0].end)), 0);
};

if (data.films.length > 2) {
  element("together").parentElement.hidden = false;
  element("together").style.height = `${lineTop(data.films.length) - LINE.gap + LINE.bottom + 4}px`;
  element("together").setAttribute("aria-label", `All films on the clock of ${data.films[0].name}, with the confidence of each moment`);
}

// The verdicts on all pairs, where more than those of the reference were matched.
if (data.verdicts.length > data.pairs.length) {
  element("all-pairs").hidden = false;
  const names = data.names, words = {match: "match", part: "in parts", unclear: "not clear", none: "no match"};
  const head = element("all-pairs").querySelector("thead").insertRow();
  for (const name of ["", ...names]) {
    const cell = head.appendChild(document.createElement("th"));
    cell.scope = "col";
    cell.textContent = name;
  }
  for (const mine of names) {
    const line = element("all-pairs").querySelector("tbody").insertRow(), title = line.appendChild(document.createElement("th"));
    [title.scope, title.textContent] = ["row", mine + (mine === data.films[0].name ? ", the reference" : "")];
    for (const other of names) {
      const cell = line.insertCell();
      const found = data.verdicts.find(({x, y}) => (x === mine && y === other) || (x === other && y === mine));
      if (!found) continue;
      cell.dataset.kind = found.verdict;
      cell.textContent = `${words[found.verdict]} (${found.mean_confidence.toFixed(2)})`;
    }
  }
}
