// The Events Log: the list, its search and filters, its keys. See local/sandbox/stream.py

import { detailsOf } from '/details.js';
import { byId, clock, make } from '/dom.js';
import { startForwarder } from '/forwarder.js';
import { showQuota, showTimeline } from '/quota.js';
import { showRecords, startRecords } from '/records.js';
import { showFaults, startSwitches } from '/switches.js';

const SHOWN = 500; // as many as the sandbox keeps
const AGAIN = 2e3;
const OUTCOMES = { '': 'All', booked: 'Booked', duplicate: 'Duplicates', refused: 'Refused', unanswered: 'No answer' };

const list = byId('log');
const entries = new Map(); // by the request's number, oldest first
let opened; // { entry, stop }
let outcome = '';

// ---- the stream

const listen = () => {
  const source = new EventSource('/_sandbox/stream');
  const on = (name, act) => source.addEventListener(name, ({ data }) => act(JSON.parse(data)));
  source.onopen = () => live('live');
  source.onerror = () => {
    live('reconnecting');
    // The browser goes on by itself, save after an answer that was no stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
  };
  on('reset', forgetAll);
  on('arrivals', take);
  on('state', (state) => {
    latest = state;
    showState();
  });
};

let latest;
const showState = () => {
  if (!latest) return;
  showQuota(latest);
  showTimeline(latest);
  showRecords(latest);
  showFaults(latest.faults);
  if (document.activeElement !== byId('limit')) byId('limit').value = latest.settings.requests_per_minute;
};

const live = (state) => {
  byId('live').dataset.state = state;
  byId('live').textContent = state;
};

// ---- the list

const forgetAll = () => {
  close();
  entries.clear();
  list.replaceChildren();
  filter();
};

const take = (arrivals) => {
  const wanted = wish();
  const isFirst = !entries.size; // what was there before is not announced as new
  for (const entry of arrivals) {
    if (entries.has(entry.id)) continue;
    entry.text = textOf(entry);
    entry.item = row(entry);
    entry.item.hidden = !matches(entry, wanted);
    entries.set(entry.id, entry);
    if (!isFirst) entry.item.classList.add('new');
    list.prepend(entry.item);
  }
  // The open one stays for as long as it is read.
  for (const [id, entry] of entries) {
    if (entries.size <= SHOWN) break;
    if (entry === opened?.entry) continue;
    entry.item.remove();
    entries.delete(id);
  }
  count();
};

// A row that a filter hid is not new when it is shown again.
list.addEventListener('animationend', ({ target }) => target.classList.remove('new'));

const WORDS = { booked: 'booked', duplicate: 'duplicate', refused: 'refused', unanswered: 'no answer' };

/** Whether the sender heard of it or not: an event may be booked, and the answer cut off. */
const wordsOf = ({ outcome: own, status }) =>
  status == null && own !== 'unanswered' ? `${WORDS[own]}, ${WORDS.unanswered}` : WORDS[own];

const row = (entry) => {
  const { fields } = entry;
  const who = [fields.email, fields.comet_token, fields.fingerprint].find((it) => typeof it === 'string' && it);
  const order = fields.order_id ?? fields.order_name;
  const button = make(
    'button',
    { type: 'button', class: 'row', 'aria-expanded': 'false', id: `row-${entry.id}` },
    make('time', {}, clock(entry.received_at)),
    make('span', { class: `pill ${entry.outcome}` }, make('b', {}, entry.status ?? '–'), ` ${wordsOf(entry)}`),
    cell('name', text(fields.event_name) || 'no event'),
    cell('who', who || 'nobody named'),
    cell('order', text(order)),
    make('span', { class: 'amount' }, amountOf(fields)),
  );
  button.addEventListener('click', () => (opened?.entry === entry ? close() : open(entry)));
  return make('li', { class: `event ${entry.outcome}` }, button);
};

// The title shows what a narrow cell cuts off.
const cell = (kind, content) => make('span', { class: kind, title: content }, content);

const text = (value) => (value == null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value));

const amountOf = ({ amount, currency }) => [text(amount), text(currency)].filter(Boolean).join(' ');

const open = (entry) => {
  close();
  if (entry.item.hidden) clearFilters();
  const { element, stop } = detailsOf(entry, [...entries.values()], (other) => {
    open(other);
    rowOf(other).focus();
  });
  element.id = `details-${entry.id}`;
  opened = { entry, stop };
  rowOf(entry).setAttribute('aria-expanded', 'true');
  rowOf(entry).setAttribute('aria-controls', element.id);
  entry.item.append(element);
  entry.item.classList.add('open');
  entry.item.scrollIntoView({ block: 'nearest' });
  rowOf(entry).scrollIntoView({ block: 'nearest' }); // its head, where it is higher than the screen
};

const close = () => {
  if (!opened) return;
  const { entry, stop } = opened;
  opened = undefined;
  stop();
  entry.item.querySelector('.details')?.remove();
  entry.item.classList.remove('open');
  rowOf(entry).setAttribute('aria-expanded', 'false');
  rowOf(entry).removeAttribute('aria-controls');
};

const rowOf = (entry) => entry.item.firstElementChild;

// ---- search and filters

/** All that can be searched for, in small letters: fields with their names, headers, ids. */
const textOf = ({ fields, headers, request_id: id, event_id: number, message, fault, status }) =>
  [id, number, message, fault, status, ...Object.entries(fields).flat(), ...Object.entries(headers).flat()]
    .map(text).join('\n').toLowerCase();

/** What search and filters ask for now; each word must be somewhere. */
const wish = () => ({
  words: byId('search').value.toLowerCase().split(/\s+/).filter(Boolean),
  status: byId('status').value,
});

const matchesRest = (entry, { words, status }) =>
  (!status || String(entry.status ?? 'none') === status) && words.every((word) => entry.text.includes(word));

const isOf = (entry, value) => !value || entry.outcome === value || (value === 'unanswered' && entry.status == null);

const matches = (entry, wanted) => isOf(entry, outcome) && matchesRest(entry, wanted);

const filter = () => {
  const wanted = wish();
  for (const entry of entries.values()) entry.item.hidden = !matches(entry, wanted);
  if (opened?.entry.item.hidden) close();
  count();
};

/** Say how many there are of each outcome, which statuses there are, and what is shown. */
const count = () => {
  const wanted = wish();
  const rest = [...entries.values()].filter((entry) => matchesRest(entry, wanted));
  for (const button of byId('outcomes').children) {
    const value = button.dataset.outcome;
    button.lastChild.textContent = rest.filter((it) => isOf(it, value)).length;
    button.setAttribute('aria-pressed', value === outcome);
  }
  offerStatuses();
  const shownNow = rest.filter((it) => isOf(it, outcome)).length;
  const isNarrowed = shownNow < entries.size;
  byId('empty').hidden = entries.size > 0;
  const said = isNarrowed ? `${shownNow} of ${entries.size} events shown` : '';
  if (byId('found').textContent !== said) byId('found').textContent = said;
};

const offerStatuses = () => {
  const select = byId('status');
  const seen = [...new Set([...entries.values()].map((it) => String(it.status ?? 'none')))].sort();
  const offered = [...select.options].slice(1).map((it) => it.value);
  if (select.value && !seen.includes(select.value)) seen.push(select.value);
  if (seen.join() === offered.join()) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...seen.map((it) => make('option', { value: it }, it)));
  select.value = chosen;
};

const clearFilters = () => {
  byId('search').value = byId('status').value = outcome = '';
  filter();
};

for (const [value, title] of Object.entries(OUTCOMES)) {
  const button = make('button', { type: 'button', 'data-outcome': value, 'aria-pressed': value === '' }, title, ' ', make('span', {}, '0'));
  button.addEventListener('click', () => {
    outcome = value;
    filter();
  });
  byId('outcomes').append(button);
}
byId('search').addEventListener('input', filter);
byId('status').addEventListener('change', filter);

// ---- keys

const visibleRows = () => [...list.querySelectorAll('li:not([hidden]) > .row')];

/** Move to the next event below (1) or above (-1); from elsewhere, to the newest. */
const move = (by) => {
  const rows = visibleRows();
  const here = document.activeElement.closest?.('.event')?.firstElementChild ?? (opened && rowOf(opened.entry));
  const at = rows.indexOf(here);
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
};

const KEYS = {
  '/': () => byId('search').select(),
  j: () => move(1),
  k: () => move(-1),
  Escape: () => {
    const back = opened && rowOf(opened.entry);
    close();
    back?.focus();
  },
};

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const { target } = event;
  if (target.matches('input:not([type=radio]), select')) {
    if (target.id !== 'search' || !['Escape', 'Enter'].includes(event.key)) return;
    event.preventDefault();
    if (event.key === 'Escape' && target.value) {
      target.value = '';
      filter();
    } else visibleRows()[0]?.focus();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

// ---- colours and the limit

const THEME = 'eventsLog.theme';
const wear = (theme) => {
  document.documentElement.dataset.theme = theme;
  document.querySelector(`[name=theme][value=${theme}]`).checked = true;
};
for (const input of document.querySelectorAll('[name=theme]')) {
  input.addEventListener('change', () => {
    wear(input.value);
    try {
      localStorage[THEME] = input.value;
    } catch {} // a browser may keep nothing
  });
}
try {
  if (['light', 'dark'].includes(localStorage[THEME])) wear(localStorage[THEME]);
} catch {}

byId('limit-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const wanted = { requests_per_minute: +byId('limit').value };
  const answer = await fetch('/_sandbox/settings', { method: 'PUT', body: JSON.stringify(wanted) });
  byId('limit').setCustomValidity(answer.ok ? '' : (await answer.json()).message);
  byId('limit').reportValidity();
  byId('limit').blur();
});
byId('limit').addEventListener('input', () => byId('limit').setCustomValidity(''));

startSwitches();
startRecords();
startForwarder();
count();
listen();
setInterval(() => latest && showTimeline(latest), 5e3); // bars move on while nothing comes
