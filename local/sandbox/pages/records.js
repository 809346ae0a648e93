// What Cometly has recorded of what it took, and who has read it back.

import { ask, byId, make } from '/dom.js';

const ENDPOINTS = {
  list: ['list', 'lists'],
  record: ['record', 'records'],
  export: ['export', 'exports'],
  export_check: ['look at an export', 'looks at an export'],
};

/** Put the button to work that lets another sender of the Space bring a purchase. */
export const startRecords = () => {
  const button = byId('other-sender');
  const note = byId('records-note');
  button.addEventListener('click', async () => {
    const number = Math.floor(Math.random() * 1e6);
    try {
      await ask('records', 'POST', [{ event_name: 'purchase', amount: 25, order_id: `other-${number}` }]);
    } catch (error) {
      note.textContent = error.message;
    }
  });
};

/** Show how much can be read back, and what was answered to those who read. */
export const showRecords = ({ records }) => {
  byId('recorded').textContent = records.recorded;
  byId('from-others').textContent = records.from_others;
  byId('not-shown-yet').textContent = records.not_shown_yet;
  const told = Object.entries(ENDPOINTS).map(([name, words]) => answered(words, records.answered[name])).filter(Boolean);
  const text = told.length ? `Answered: ${told.join('; ')}.` : 'Nobody has read it back yet.';
  const note = byId('records-note');
  if (note.textContent !== text) note.textContent = text;
};

const answered = ([one, many], counts) => {
  const sum = Object.values(counts).reduce((total, count) => total + count, 0);
  const refused = Object.entries(counts).filter(([status]) => status >= 400).map(([status, count]) => `${count} with ${status}`);
  return sum && `${sum} ${sum === 1 ? one : many}${refused.length ? ` (${refused.join(', ')})` : ''}`;
};

const FAULTS = {
  forget: 'Never recorded, as the sandbox was told: its sender was answered 202 all the same.',
  other_amount: 'recorded with another amount, as the sandbox was told',
  record_twice: 'recorded twice, as the sandbox was told',
};

/** Say what of an event can be read back. */
export const recordOf = ({ outcome, record_ids: ids, record_fault: fault }) => {
  const hint = (text) => make('p', { class: 'hint' }, text);
  if (outcome === 'duplicate') return hint('None: Cometly drops a duplicate whole.');
  if (outcome !== 'booked') return hint('None: Cometly has not taken it.');
  if (!ids.length) return hint(FAULTS[fault] ?? 'None.');
  return make('p', { class: 'ledger' }, make('code', {}, ids.join(', ')), fault ? ` · ${FAULTS[fault] ?? fault}` : '');
};
