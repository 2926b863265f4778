// Operations by process: a row each, of which only those in sight are drawn.

const ROW = 18, SHORT = 3;

function processRows(ops, wanted) {
  const rows = new Map();
  for (let i = 0; i < ops.count; i++) {
    if (!wanted(i)) continue;
    let row = rows.get(ops.process[i]);
    if (!row) rows.set(ops.process[i], row = []);
    row.push(i);
  }
  return [...rows.entries()].sort((a, b) => a[0] - b[0]);
}

function timeline(model, view, wanted, marked) {
  const { ops, spans } = model, scroller = document.getElementById('timeline-scroll');
  // Processes that do nothing in this window need no row.
  const rows = processRows(ops, i => wanted(i) && ops.at[i] <= view.to && (ops.took[i] < 0 || ops.at[i] + ops.took[i] >= view.from));
  document.getElementById('timeline-space').style.height = rows.length * ROW + 24 + 'px';
  const canvas = document.getElementById('timeline'), height = Math.min(420, rows.length * ROW + 24);
  scroller.style.height = height + 2 + 'px';
  const { context, width } = prepare(canvas, height);
  const { x } = scale(view, width), top = Math.max(0, scroller.scrollTop), bottom = height - 22;
  shade(context, spans, view, width, bottom);
  timeAxis(context, view, width, bottom);
  const first = Math.floor(top / ROW), end = Math.min(rows.length, first + Math.ceil(bottom / ROW) + 1), boxes = [];
  context.save();
  context.beginPath(); context.rect(0, 0, width, bottom); context.clip();
  for (let at = first; at < end; at++) {
    const [process, list] = rows[at], y = at * ROW - top;
    // Operations too short to be told apart are one box, as far as they touch.
    let run = null;
    const drawRun = () => {
      if (run === null) return;
      context.globalAlpha = 0.75;
      context.fillStyle = colours[OUTCOMES[run.outcome]];
      context.fillRect(run.left, y + 2, run.right - run.left, ROW - 4);
      context.globalAlpha = 1;
      run = null;
    };
    for (const i of list) {
      const left = Math.max(MARGIN.left, x(ops.at[i]));
      const until = ops.took[i] < 0 ? width - MARGIN.right : Math.min(width - MARGIN.right, x(ops.at[i] + ops.took[i]));
      const wide = Math.max(2, until - left);
      boxes.push([i, left, y, wide]);
      if (wide <= SHORT && i !== marked && ops.took[i] >= 0) {
        const outcome = ops.outcome[i];
        if (run === null || run.outcome !== outcome || left > run.right) { drawRun(); run = { outcome, left, right: left }; }
        run.right = Math.max(run.right, left + wide);
        continue;
      }
      context.globalAlpha = ops.took[i] < 0 ? 0.35 : 0.75;
      context.fillStyle = colours[OUTCOMES[ops.outcome[i]]];
      context.fillRect(left, y + 2, wide, ROW - 4);
      context.globalAlpha = 1;
      if (i === marked) {
        context.strokeStyle = colours.bad;
        context.lineWidth = 2;
        context.strokeRect(left, y + 2, wide, ROW - 4);
        context.lineWidth = 1;
      }
      if (wide > 46) {
        context.save();
        context.beginPath(); context.rect(left, y, wide, ROW); context.clip();
        context.fillStyle = ops.took[i] < 0 ? colours.ink : colours.back;
        context.textAlign = 'left';
        const [asked, answer] = ops.texts(i);
        context.fillText(`${ops.fs[ops.f[i]]} ${answer || asked || ''}`, left + 3, y + ROW / 2 + 1);
        context.restore();
      }
    }
    drawRun();
    context.fillStyle = colours.back;
    context.fillRect(0, y, MARGIN.left - 2, ROW);
    context.fillStyle = colours.ink;
    context.textAlign = 'right';
    context.fillText(String(process), MARGIN.left - 6, y + ROW / 2 + 1);
  }
  context.restore();
  canvas.dataset.drawn = boxes.length;
  canvas.dataset.rows = rows.length;
  return (px, py) => {
    const box = boxes.find(([, left, y, wide]) => px >= left - 2 && px <= left + wide + 2 && py >= y && py < y + ROW);
    return box ? box[0] : -1;
  };
}
