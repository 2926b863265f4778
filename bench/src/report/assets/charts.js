// What the charts share: canvases, colours, hover, zoom by dragging; and latency and rate.

const MARGIN = { left: 64, right: 12 };
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ['ink', 'soft', 'line', 'back', 'ok', 'fail', 'info', 'bad', 'sea', 'late', 'copy', 'kill', 'pause', 'cut', 'other']) {
    colours[name] = style.getPropertyValue('--' + name).trim();
  }
}

// A canvas as wide as its place, sharp on every screen.
function prepare(canvas, height) {
  const width = Math.max(240, canvas.parentElement.clientWidth), ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = width + 'px';
  canvas.style.height = height + 'px';
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  return { context, width, height };
}

function scale(view, width) {
  const room = width - MARGIN.left - MARGIN.right, span = Math.max(1, view.to - view.from);
  return {
    x: time => MARGIN.left + (time - view.from) / span * room,
    time: x => view.from + (x - MARGIN.left) / room * span,
  };
}

// Steps of 1, 2 or 5 that give about `count` marks.
function step(span, count) {
  const raw = Math.max(1e-9, span / count), power = Math.pow(10, Math.floor(Math.log10(raw)));
  return power * [1, 2, 5, 10].find(factor => factor * power >= raw);
}

function timeAxis(context, view, width, y) {
  const { x } = scale(view, width), every = step(view.to - view.from, width / 110);
  context.fillStyle = colours.soft;
  context.strokeStyle = colours.line;
  context.textAlign = 'center';
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(every / 1e6))));
  for (let t = Math.ceil(view.from / every) * every; t <= view.to; t += every) {
    context.beginPath();
    context.moveTo(x(t), 0);
    context.lineTo(x(t), y);
    context.stroke();
    context.fillText((t / 1e6).toFixed(digits) + ' s', x(t), y + 10);
  }
}

function faultColour(f) {
  return f === 'kill' ? colours.kill : f === 'pause' ? colours.pause
    : /partition|one-way|stall/.test(f) ? colours.cut : colours.other;
}

function shade(context, spans, view, width, height) {
  const { x } = scale(view, width);
  for (const span of spans) {
    if (span.to < view.from || span.from > view.to) continue;
    const left = Math.max(MARGIN.left, x(span.from)), right = Math.min(width - MARGIN.right, x(span.to));
    context.globalAlpha = 0.16;
    context.fillStyle = faultColour(span.f);
    context.fillRect(left, 0, Math.max(1, right - left), height);
    context.globalAlpha = 1;
  }
}

// Dragging chooses a part of the time, a double click all of it, and moving tells what is there.
function listen(canvas, view, { zoom, hover, click, reset }) {
  let from = null, moved = false;
  const place = event => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const band = canvas.parentElement.querySelector('.band-mark');
  canvas.addEventListener('pointerdown', event => { from = place(event)[0]; moved = false; });
  canvas.addEventListener('pointermove', event => {
    const [x, y] = place(event);
    if (from !== null && Math.abs(x - from) > 4) {
      moved = true;
      if (band) { band.hidden = false; band.style.left = Math.min(x, from) + 'px'; band.style.width = Math.abs(x - from) + 'px'; }
    } else if (from === null) hover(x, y, event);
  });
  const end = event => {
    if (from === null) return;
    const [x, y] = place(event), { time } = scale(view(), canvas.clientWidth), start = from;
    from = null;
    if (band) band.hidden = true;
    if (moved) zoom(time(Math.min(start, x)), time(Math.max(start, x))); else if (click) click(x, y);
  };
  canvas.addEventListener('pointerup', end);
  canvas.addEventListener('pointercancel', () => { from = null; if (band) band.hidden = true; });
  canvas.addEventListener('pointerleave', () => tip(null));
  canvas.addEventListener('dblclick', reset);
}

// The box that follows the pointer.
function tip(text, event) {
  const box = document.getElementById('tip');
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  const left = Math.min(event.clientX + 14, window.innerWidth - box.offsetWidth - 8);
  box.style.left = Math.max(4, left) + 'px';
  box.style.top = (event.clientY + 16 + box.offsetHeight > window.innerHeight ? event.clientY - box.offsetHeight - 10 : event.clientY + 16) + 'px';
}

function tellOp(ops, i, head) {
  const [asked, answer, error] = ops.texts(i);
  const end = ops.took[i] < 0 ? 'never completed' : 'after ' + duration(ops.took[i]);
  const node = ops.node[i] >= 0 ? ' at ' + head.nodes[ops.node[i]] : '';
  return `process ${ops.process[i]}${node}: ${ops.fs[ops.f[i]]} ${asked || ''}\n`
    + `${OUTCOMES[ops.outcome[i]]} ${end}${answer ? ' → ' + answer : ''}${error ? '\nerror: ' + error : ''}`
    + `\ninvoked at ${seconds(ops.at[i])}, index ${ops.index[i]}${ops.last[i] ? ', one of the last reads' : ''}`;
}

// Every operation a dot, quantiles as lines; below it how many a second.
function latencyChart(model, view, wanted, marked) {
  const canvas = document.getElementById('latency'), { ops, head, spans } = model;
  const { context, width, height } = prepare(canvas, 260);
  const { x } = scale(view, width), bottom = height - 22;
  const low = model.latency[0], high = model.latency[1];
  const y = took => bottom - (Math.log(Math.max(1, took)) - Math.log(low)) / (Math.log(high) - Math.log(low)) * (bottom - 10);
  shade(context, spans, view, width, bottom);
  timeAxis(context, view, width, bottom);
  context.textAlign = 'right';
  for (let power = 1; power <= 1e9; power *= 10) {
    if (power < low || power > high) continue;
    context.fillStyle = colours.soft;
    context.fillText(duration(power), MARGIN.left - 6, y(power));
    context.strokeStyle = colours.line;
    context.beginPath(); context.moveTo(MARGIN.left, y(power)); context.lineTo(width - MARGIN.right, y(power)); context.stroke();
  }
  const first = lowerBound(ops.at, view.from), end = lowerBound(ops.at, view.to + 1);
  const size = end - first > 20000 ? 1.5 : end - first > 2000 ? 2 : 3.5;
  const shown = [];
  for (const outcome of [0, 1, 2]) {
    context.fillStyle = colours[OUTCOMES[outcome]];
    for (let i = first; i < end; i++) {
      if (ops.outcome[i] !== outcome || !wanted(i)) continue;
      const took = ops.took[i] < 0 ? high : ops.took[i];
      context.fillRect(x(ops.at[i]) - size / 2, y(took) - size / 2, size, size);
      shown.push(i);
    }
  }
  quantiles(context, ops, shown, view, x, y);
  if (marked !== null && marked >= first && marked < end) {
    context.strokeStyle = colours.bad;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(x(ops.at[marked]), y(Math.max(low, ops.took[marked])), 7, 0, 7);
    context.stroke();
    context.lineWidth = 1;
  }
  canvas.dataset.drawn = shown.length;
  canvas.dataset.from = view.from;
  canvas.dataset.to = view.to;
  rateChart(model, view, shown);
  return (px, py) => nearest(shown, i => [x(ops.at[i]), y(ops.took[i] < 0 ? high : ops.took[i])], px, py);
}

function nearest(items, place, px, py) {
  let best = -1, distance = 144;
  for (const i of items) {
    const [ax, ay] = place(i), d = (ax - px) * (ax - px) + (ay - py) * (ay - py);
    if (d < distance) { distance = d; best = i; }
  }
  return best;
}

function quantiles(context, ops, shown, view, x, y) {
  const count = 48, span = (view.to - view.from) / count, buckets = Array.from({ length: count }, () => []);
  for (const i of shown) {
    if (ops.outcome[i] !== 0) continue;
    const at = Math.floor((ops.at[i] - view.from) / span);
    if (at >= 0 && at < count) buckets[at].push(ops.took[i]);
  }
  buckets.forEach(bucket => bucket.sort((a, b) => a - b));
  for (const [q, dash] of [[0.5, []], [0.95, [6, 3]], [0.99, [2, 3]]]) {
    context.setLineDash(dash);
    context.strokeStyle = colours.ink;
    context.beginPath();
    let pen = false;
    buckets.forEach((bucket, at) => {
      if (bucket.length === 0) { pen = false; return; }
      const value = bucket[Math.min(bucket.length - 1, Math.floor(q * bucket.length))];
      const [px, py] = [x(view.from + (at + 0.5) * span), y(value)];
      if (pen) context.lineTo(px, py); else context.moveTo(px, py);
      pen = true;
    });
    context.stroke();
  }
  context.setLineDash([]);
}

function rateChart({ ops, spans }, view, shown) {
  const { context, width, height } = prepare(document.getElementById('rate'), 120);
  const count = Math.max(10, Math.min(120, Math.floor(width / 8))), span = (view.to - view.from) / count;
  const rates = OUTCOMES.map(() => new Float64Array(count));
  for (const i of shown) {
    const at = Math.floor((ops.at[i] - view.from) / span);
    if (at >= 0 && at < count) rates[ops.outcome[i]][at] += 1e6 / span;
  }
  const top = Math.max(1, ...rates.map(rate => Math.max(...rate))), bottom = height - 22, { x } = scale(view, width);
  shade(context, spans, view, width, bottom);
  timeAxis(context, view, width, bottom);
  context.textAlign = 'right';
  context.fillStyle = colours.soft;
  context.fillText(Math.round(top) + '/s', MARGIN.left - 6, 12);
  context.fillText('0/s', MARGIN.left - 6, bottom);
  context.lineWidth = 1.5;
  rates.forEach((rate, outcome) => {
    context.strokeStyle = colours[OUTCOMES[outcome]];
    context.beginPath();
    rate.forEach((value, at) => context.lineTo(x(view.from + (at + 0.5) * span), bottom - value / top * (bottom - 10)));
    if (rate.some(value => value > 0)) context.stroke();
  });
  context.lineWidth = 1;
}
