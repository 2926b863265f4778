// Who sends how many messages of which type to whom.

function traffic(model) {
  const { messages, head } = model, select = document.getElementById('traffic-type');
  fill(select, [...messages.types].sort());
  select.addEventListener('input', () => heatMap(model, select.value));
  heatMap(model, '');
  const rows = new Map();
  for (const kind of messages.kinds) {
    const name = messages.types[kind.type], row = rows.get(name) || { sent: 0, lost: 0, bytes: 0 };
    rows.set(name, { sent: row.sent + kind.sent, lost: row.lost + kind.lost, bytes: row.bytes + kind.bytes });
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

function heatMap({ messages, head }, type) {
  const table = document.getElementById('heat'), names = [...head.nodes];
  const services = messages.parties.filter(name => !names.includes(name) && !isClient(name, head));
  names.push(...services);
  if (messages.parties.some(name => isClient(name, head))) names.push('clients');
  const group = party => isClient(messages.parties[party], head) ? 'clients' : messages.parties[party];
  const counts = new Map();
  let most = 1;
  for (const kind of messages.kinds) {
    if (type !== '' && messages.types[kind.type] !== type) continue;
    const key = JSON.stringify([group(kind.src), group(kind.dest)]), sum = (counts.get(key) || 0) + kind.sent;
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
