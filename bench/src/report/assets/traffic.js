// Who sends how many messages of which type to whom.

function traffic({ head }) {
  const sums = (head.traffic || []).map(([src, dest, type, sent, lost, bytes]) => ({ src, dest, type, sent, lost, bytes }));
  const select = document.getElementById('traffic-type');
  fill(select, [...new Set(sums.map(sum => sum.type))].sort());
  select.addEventListener('input', () => heatMap(sums, head, select.value));
  heatMap(sums, head, '');
  const rows = new Map();
  for (const sum of sums) {
    const row = rows.get(sum.type) || { sent: 0, lost: 0, bytes: 0 };
    rows.set(sum.type, { sent: row.sent + sum.sent, lost: row.lost + sum.lost, bytes: row.bytes + sum.bytes });
  }
  const table = document.getElementById('types');
  const all = [...rows.entries()].sort((a, b) => b[1].sent - a[1].sent);
  for (const [name, row] of all) {
    const cells = [name, row.sent, row.lost, row.bytes, (row.bytes / row.sent).toFixed(0),
      head.operations ? (row.sent / head.operations).toFixed(3) : ''];
    line(table, 'td', cells);
  }
}

function line(table, tag, cells) {
  const row = document.createElement('tr');
  for (const text of cells) {
    const cell = document.createElement(tag);
    cell.textContent = text;
    row.append(cell);
  }
  table.append(row);
  return row;
}

function heatMap(sums, head, type) {
  const table = document.getElementById('heat'), names = [...head.nodes];
  const others = new Set(sums.flatMap(sum => [sum.src, sum.dest]).filter(name => !names.includes(name) && name !== 'clients'));
  names.push(...others, 'clients');
  const counts = new Map();
  let most = 1;
  for (const { src, dest, type: own, sent } of sums) {
    if (type !== '' && own !== type) continue;
    const key = JSON.stringify([src, dest]), sum = (counts.get(key) || 0) + sent;
    counts.set(key, sum);
    most = Math.max(most, sum);
  }
  table.replaceChildren();
  line(table, 'th', ['from \\ to', ...names.slice(0, 40)]);
  for (const from of names.slice(0, 40)) {
    const row = line(table, 'td', [from, ...names.slice(0, 40).map(to => counts.get(JSON.stringify([from, to])) || 0)]);
    [...row.children].slice(1).forEach(cell => {
      const count = Number(cell.textContent);
      cell.className = count === 0 ? 'heat-none' : 'heat';
      cell.style.setProperty('--heat', (count === 0 ? 0 : 0.1 + 0.9 * Math.log(1 + count) / Math.log(1 + most)).toFixed(3));
    });
  }
}
